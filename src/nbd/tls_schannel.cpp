// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS by Schannel. Records are decrypted where they were received and encrypted where they are sent
// from.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "nbd/tls_records.h"
#include "nbd/tls_schannel_session.h"

namespace wnbd::nbd::tls {
namespace {

/// What a call of Schannel left of its input: bytes at the end that it did not use.
std::size_t left_over(std::span<const SecBuffer> buffers, std::size_t given) noexcept {
    for (const auto& buffer : buffers)
        if (buffer.BufferType == SECBUFFER_EXTRA)
            return std::min<std::size_t>(buffer.cbBuffer, given);
    return 0;
}

/// "AES-256-GCM" of TLS_AES_256_GCM_SHA384, or of TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384.
std::string cipher_of(std::string suite) {
    const auto with = suite.find("_WITH_");
    suite.erase(0, with != std::string::npos ? with + 6 : suite.starts_with("TLS_") ? 4 : 0);
    // The hash ends it.
    if (const auto end = suite.rfind('_'); end != std::string::npos) suite.resize(end);
    std::ranges::replace(suite, '_', '-');
    return suite;
}

/// "AES-256-GCM", or less where Schannel says no more.
std::string cipher_name(CtxtHandle& context) {
    SecPkgContext_CipherInfo cipher{};
    cipher.dwVersion = SECPKGCONTEXT_CIPHERINFO_V1;
    if (::QueryContextAttributesW(&context, SECPKG_ATTR_CIPHER_INFO, &cipher) == SEC_E_OK)
        return cipher_of(narrow(cipher.szCipherSuite));
    SecPkgContext_ConnectionInfo info{};
    if (::QueryContextAttributesW(&context, SECPKG_ATTR_CONNECTION_INFO, &info) != SEC_E_OK)
        return "unknown cipher";
    const bool aes = info.aiCipher == CALG_AES_128 || info.aiCipher == CALG_AES_256;
    return aes ? "AES-" + std::to_string(info.dwCipherStrength)
               : std::to_string(info.dwCipherStrength) + " bits";
}

}  // namespace

SECURITY_STATUS SchannelSession::negotiate(bool with_input, TlsBuffer& answer) {
    // Without it the input is another thread's.
    const auto given = with_input ? input_.content() : std::span<std::uint8_t>();
    std::array<SecBuffer, 2> in{{{static_cast<ULONG>(given.size()), SECBUFFER_TOKEN, given.data()},
                                 {0, SECBUFFER_EMPTY, nullptr}}};
    SecBufferDesc in_list{SECBUFFER_VERSION, static_cast<ULONG>(in.size()), in.data()};
    std::array<SecBuffer, 2> out{{{0, SECBUFFER_TOKEN, nullptr}, {0, SECBUFFER_ALERT, nullptr}}};
    SecBufferDesc out_list{SECBUFFER_VERSION, static_cast<ULONG>(out.size()), out.data()};
    ULONG attributes = 0;
    TimeStamp expiry;
    constexpr ULONG request_flags = ISC_REQ_SEQUENCE_DETECT | ISC_REQ_REPLAY_DETECT |
                                    ISC_REQ_CONFIDENTIALITY | ISC_REQ_ALLOCATE_MEMORY |
                                    ISC_REQ_STREAM | ISC_REQ_EXTENDED_ERROR |
                                    ISC_REQ_MANUAL_CRED_VALIDATION;
    const ULONG flags = request_flags | (supplied_ ? ISC_REQ_USE_SUPPLIED_CREDS : 0UL);
    const auto status = ::InitializeSecurityContextW(
        &credentials_->handle(), begun_ ? &context_ : nullptr,
        target_.empty() ? nullptr : target_.data(), flags, 0, 0, with_input ? &in_list : nullptr, 0,
        begun_ ? nullptr : &context_, &out_list, &attributes, &expiry);
    if (status == SEC_E_OK || status == SEC_I_CONTINUE_NEEDED) begun_ = true;
    bool fits = true;
    for (const auto& buffer : out) {
        if (buffer.pvBuffer == nullptr) continue;
        if (buffer.BufferType == SECBUFFER_TOKEN && buffer.cbBuffer > 0)
            fits = answer.append({static_cast<const std::uint8_t*>(buffer.pvBuffer),
                                  buffer.cbBuffer}) == buffer.cbBuffer;
        ::FreeContextBuffer(buffer.pvBuffer);
    }
    if (!fits) return SEC_E_BUFFER_TOO_SMALL;
    if (with_input && status != SEC_E_INCOMPLETE_MESSAGE) {
        const bool taken = status == SEC_E_OK || status == SEC_I_CONTINUE_NEEDED;
        const auto count = taken ? given.size() - left_over(in, given.size()) : 0;
        input_.take(count);
        idle_calls_ = count > 0 ? 0 : idle_calls_ + 1;
    }
    return status;
}

Fault SchannelSession::stuck() const {
    // Once, as with other credentials, the same bytes may come again.
    constexpr unsigned idle_calls_max = 2;
    if (idle_calls_ <= idle_calls_max) return {};
    return failed_fault("Schannel makes nothing of what the server has sent");
}

Fault SchannelSession::incomplete() noexcept {
    if (!input_.room().empty()) return {};
    return failed_fault("Schannel takes no record of what the server has sent");
}

void SchannelSession::note_request() noexcept {
    asked_.store(credentials_->client_certificate() ? Asked::shown : Asked::missed,
                 std::memory_order_relaxed);
}

void SchannelSession::note_plain_records() noexcept {
    const auto seen = look_at_records(input_.content());
    if (seen.alert != 0) alert_ = seen.alert;
    if (seen.certificate_asked) note_request();
}

Result<bool, Fault> SchannelSession::handshake() {
    if (broken_.code != FaultCode::none) return Failure{broken_};
    for (;;) {
        if (begun_ && input_.empty()) return false;
        if (begun_) note_plain_records();
        const auto status = negotiate(begun_, output_);
        auto fault = status == SEC_E_INCOMPLETE_MESSAGE ? incomplete() : stuck();
        if (fault.code != FaultCode::none) return Failure{fail(std::move(fault))};
        if (status == SEC_E_INCOMPLETE_MESSAGE) return false;
        if (status == SEC_I_CONTINUE_NEEDED) continue;
        if (status == SEC_I_INCOMPLETE_CREDENTIALS && !supplied_) {
            // The server asks for a certificate and Schannel has none that fits: goes on without.
            supplied_ = true;
            note_request();
            continue;
        }
        if (status != SEC_E_OK) return Failure{fail(status_fault(status))};
        fault = establish();
        if (fault.code != FaultCode::none) {
            SCHANNEL_ALERT_TOKEN alert{SCHANNEL_ALERT, TLS1_ALERT_FATAL,
                                       TLS1_ALERT_BAD_CERTIFICATE};
            if (fault.code == FaultCode::tls_unknown_ca)
                alert.dwAlertNumber = TLS1_ALERT_UNKNOWN_CA;
            if (fault.code == FaultCode::tls_expired)
                alert.dwAlertNumber = TLS1_ALERT_CERTIFICATE_EXPIRED;
            say(&alert, sizeof alert);
            return Failure{fail(std::move(fault))};
        }
        established_ = true;
        return true;
    }
}

Fault SchannelSession::establish() {
    auto status = ::QueryContextAttributesW(&context_, SECPKG_ATTR_STREAM_SIZES, &sizes_);
    if (status != SEC_E_OK) return status_fault(status);
    if (sizes_.cbMaximumMessage == 0 || sizes_.cbHeader > record_extra_max ||
        sizes_.cbTrailer > record_extra_max - sizes_.cbHeader)
        return failed_fault("Schannel wants impossible sizes of records");
    sizes_.cbMaximumMessage = std::min<ULONG>(sizes_.cbMaximumMessage, record_plain_max);
    SecPkgContext_ConnectionInfo info{};
    if (::QueryContextAttributesW(&context_, SECPKG_ATTR_CONNECTION_INFO, &info) == SEC_E_OK)
        version_13_ = (info.dwProtocol & SP_PROT_TLS1_3) != 0;
    description_ = std::string(version_13_ ? "TLS 1.3, " : "TLS 1.2, ") + cipher_name(context_);
    // A server of TLS 1.3 asks for a certificate where only Schannel sees it, and refuses without
    // one when we have already finished.
    if (version_13_ && asked() == Asked::no)
        asked_.store(credentials_->client_certificate() ? Asked::shown : Asked::perhaps,
                     std::memory_order_relaxed);
    if (!credentials_->settings().verify_peer) return {};

    PCCERT_CONTEXT shown = nullptr;
    status = ::QueryContextAttributesW(&context_, SECPKG_ATTR_REMOTE_CERT_CONTEXT,
                                       static_cast<void*>(&shown));
    const Certificate certificate(shown);
    if (status != SEC_E_OK || !certificate) return untrusted_fault("the server has sent none");
    return verify_server(*certificate, *credentials_, hostname_);
}

void SchannelSession::say(void* token, ULONG size) noexcept {
    if (!begun_) return;
    const std::lock_guard no_decrypting(decrypting_);
    const std::lock_guard no_encrypting(encrypting_);
    flush_answer();
    SecBuffer buffer{size, SECBUFFER_TOKEN, token};
    SecBufferDesc list{SECBUFFER_VERSION, 1, &buffer};
    if (::ApplyControlToken(&context_, &list) == SEC_E_OK) (void)negotiate(false, output_);
}

void SchannelSession::close() noexcept {
    DWORD shut_down = SCHANNEL_SHUTDOWN;
    if (established_) say(&shut_down, sizeof shut_down);
}

Result<std::size_t, Fault> SchannelSession::encrypt(std::span<const IoSlice> slices) noexcept {
    // An answer may go before a record.
    constexpr auto room_min = record_plain_max + 5 * record_extra_max;
    std::size_t taken = 0;
    std::size_t skip = 0;  // of the first slice
    while (output_.room().size() >= room_min) {
        std::size_t count = 0;
        for (std::size_t i = 0; i < slices.size() && count < sizes_.cbMaximumMessage; ++i)
            count += std::min<std::size_t>(slices[i].size - (i == 0 ? skip : 0),
                                           sizes_.cbMaximumMessage - count);
        if (count == 0) break;
        auto done = encrypt_record(slices, skip, count);
        if (!done) return done;
        taken += count;
        for (skip += count; !slices.empty() && skip >= slices.front().size;
             slices = slices.subspan(1))
            skip -= slices.front().size;
    }
    return taken;
}

void SchannelSession::flush_answer() noexcept {
    answer_.take(output_.append(answer_.content()));
}

Result<std::size_t, Fault> SchannelSession::encrypt_record(std::span<const IoSlice> slices,
                                                           std::size_t skip,
                                                           std::size_t count) noexcept {
    const std::lock_guard lock(encrypting_);
    flush_answer();

    auto* const header = output_.room().data();
    auto* const data = header + sizes_.cbHeader;
    for (std::size_t done = 0; done < count; slices = slices.subspan(1), skip = 0) {
        const auto part = std::min(slices.front().size - skip, count - done);
        if (part > 0) std::memcpy(data + done, slices.front().data + skip, part);
        done += part;
    }
    std::array<SecBuffer, 4> buffers{{{sizes_.cbHeader, SECBUFFER_STREAM_HEADER, header},
                                      {static_cast<ULONG>(count), SECBUFFER_DATA, data},
                                      {sizes_.cbTrailer, SECBUFFER_STREAM_TRAILER, data + count},
                                      {0, SECBUFFER_EMPTY, nullptr}}};
    SecBufferDesc list{SECBUFFER_VERSION, static_cast<ULONG>(buffers.size()), buffers.data()};
    const auto status = ::EncryptMessage(&context_, 0, &list, 0);
    if (status != SEC_E_OK) return Failure{status_fault(status)};
    const auto size = std::size_t{buffers[0].cbBuffer} + buffers[1].cbBuffer + buffers[2].cbBuffer;
    if (size > sizes_.cbHeader + count + sizes_.cbTrailer)
        return Failure{failed_fault("Schannel made a record that is too long")};
    output_.put(size);
    return count;
}

Result<TlsSession::Decrypted, Fault> SchannelSession::decrypt(
    std::span<const IoSlice> slices) noexcept {
    Decrypted result;
    std::size_t offset = 0;  // in the first slice
    more_needed_ = false;
    while (!slices.empty()) {
        const auto& slice = slices.front();
        if (offset == slice.size) {
            slices = slices.subspan(1);
            offset = 0;
            continue;
        }
        if (plain_.empty()) {
            input_.take(std::exchange(record_size_, 0));
            if (more_needed_ || closed_ || broken_.code != FaultCode::none) break;
            if (auto fault = decrypt_record(); fault.code != FaultCode::none)
                (void)fail(std::move(fault));
            continue;
        }
        const auto count = std::min(plain_.size(), slice.size - offset);
        std::memcpy(slice.data + offset, plain_.data(), count);
        plain_ = plain_.subspan(count);
        offset += count;
        result.bytes += count;
    }
    if (result.bytes > 0) {
        result.state = Incoming::data;
        result.more = slices.empty() || closed_ || broken_.code != FaultCode::none;
        return result;
    }
    if (broken_.code != FaultCode::none) return Failure{broken_};
    if (closed_) result.state = Incoming::closed;
    return result;
}

Fault SchannelSession::decrypt_record() noexcept {
    if (input_.empty()) {
        more_needed_ = true;
        return {};
    }
    const std::lock_guard lock(decrypting_);
    if (between_records_) return after_handshake();
    const auto content = input_.content();
    std::array<SecBuffer, 4> buffers{
        {{static_cast<ULONG>(content.size()), SECBUFFER_DATA, content.data()},
         {0, SECBUFFER_EMPTY, nullptr},
         {0, SECBUFFER_EMPTY, nullptr},
         {0, SECBUFFER_EMPTY, nullptr}}};
    SecBufferDesc list{SECBUFFER_VERSION, static_cast<ULONG>(buffers.size()), buffers.data()};
    const auto status = ::DecryptMessage(&context_, &list, 0, nullptr);
    if (status == SEC_E_INCOMPLETE_MESSAGE) {
        more_needed_ = true;
        return incomplete();
    }
    if (status != SEC_E_OK && status != SEC_I_CONTEXT_EXPIRED && status != SEC_I_RENEGOTIATE)
        return status_fault(status);

    record_size_ = content.size() - left_over(buffers, content.size());
    idle_calls_ = record_size_ > 0 ? 0 : idle_calls_ + 1;
    for (const auto& buffer : buffers) {
        if (buffer.BufferType != SECBUFFER_DATA || buffer.cbBuffer == 0) continue;
        const auto* const data = static_cast<const std::uint8_t*>(buffer.pvBuffer);
        // A record begins with its header: this is only what was given.
        if (data == content.data()) continue;
        const auto* const end = content.data() + record_size_;
        if (data < content.data() || data > end ||
            buffer.cbBuffer > static_cast<std::size_t>(end - data))
            return failed_fault("Schannel's plain bytes are not where the record was");
        plain_ = {data, buffer.cbBuffer};
        asked_.store(Asked::no, std::memory_order_relaxed);
        break;
    }
    if (status == SEC_I_CONTEXT_EXPIRED) closed_ = true;
    if (status == SEC_I_RENEGOTIATE) {
        // TLS 1.2 would negotiate anew here, of which nothing good is known.
        if (!version_13_) return failed_fault("the server wants to renegotiate, which is refused");
        between_records_ = true;
    }
    return stuck();
}

/// TLS 1.3's messages between records: tickets, key updates. The input begins with one. Under
/// decrypting_.
Fault SchannelSession::after_handshake() noexcept {
    const std::lock_guard lock(encrypting_);
    const auto status = negotiate(true, answer_);
    if (status == SEC_E_INCOMPLETE_MESSAGE) {
        more_needed_ = true;
        return incomplete();
    }
    if (status != SEC_E_OK && status != SEC_I_CONTINUE_NEEDED) return status_fault(status);
    if (status == SEC_E_OK) between_records_ = false;
    return stuck();
}

Fault SchannelSession::truncated() const {
    if (!established_ && alert_ != 0) return alert_fault(alert_, asked());
    return truncated_fault(established_ ? Phase::established : Phase::handshake, asked());
}

Fault SchannelSession::status_fault(SECURITY_STATUS status) const {
    if (alert_ != 0) return alert_fault(alert_, asked());
    // Before it stands it may be we who fail with the certificate.
    if (asked() == Asked::shown && !established_)
        return failed_fault(status_text(static_cast<DWORD>(status)) +
                            ", after the server asked for a certificate: it may not accept the "
                            "client certificate; check that it comes from a CA that the server "
                            "trusts");
    if (asked() != Asked::no) {
        auto fault = truncated_fault(Phase::handshake, asked());
        fault.got = static_cast<std::uint32_t>(status);
        fault.text = fault.text.string() + " (" + status_text(static_cast<DWORD>(status)) + ")";
        return fault;
    }
    if (status == SEC_E_ALGORITHM_MISMATCH || status == SEC_E_UNSUPPORTED_FUNCTION)
        return failed_fault(
            "the server has no version and cipher of TLS in common with this system");
    return failed_fault(status_text(static_cast<DWORD>(status)));
}

}  // namespace wnbd::nbd::tls

namespace wnbd::nbd {

Result<std::unique_ptr<TlsSession>, Fault> TlsSession::create(
    std::shared_ptr<const TlsCredentials> credentials, const std::string& hostname) {
    return std::unique_ptr<TlsSession>(std::make_unique<tls::SchannelSession>(
        std::static_pointer_cast<const tls::SchannelCredentials>(std::move(credentials)),
        hostname));
}

}  // namespace wnbd::nbd
