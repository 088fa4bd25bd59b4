// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS by Schannel. Records are decrypted where they were received and encrypted where they are sent
// from.
#include "nbd/tls_schannel.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "nbd/tls_buffer.h"
#include "nbd/tls_records.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

constexpr ULONG request_flags = ISC_REQ_SEQUENCE_DETECT | ISC_REQ_REPLAY_DETECT |
                                ISC_REQ_CONFIDENTIALITY | ISC_REQ_ALLOCATE_MEMORY | ISC_REQ_STREAM |
                                ISC_REQ_EXTENDED_ERROR | ISC_REQ_MANUAL_CRED_VALIDATION;

/// What a call of Schannel left of its input: bytes at the end that it did not use.
std::size_t left_over(std::span<const SecBuffer> buffers, std::size_t given) noexcept {
    for (const auto& buffer : buffers)
        if (buffer.BufferType == SECBUFFER_EXTRA)
            return std::min<std::size_t>(buffer.cbBuffer, given);
    return 0;
}

class SchannelSession final : public TlsSession {
  public:
    SchannelSession(std::shared_ptr<const SchannelCredentials> credentials,
                    const std::string& hostname)
        : credentials_(std::move(credentials)),
          hostname_(credentials_->settings().hostname.empty() ? hostname
                                                              : credentials_->settings().hostname),
          // An address goes into no SNI.
          target_(is_ip_address(hostname_) ? std::wstring() : wide(hostname_)) {}
    SchannelSession(const SchannelSession&) = delete;
    SchannelSession& operator=(const SchannelSession&) = delete;
    ~SchannelSession() override {
        if (begun_) ::DeleteSecurityContext(&context_);
    }

    std::span<std::uint8_t> receive_window() noexcept override { return input_.room(); }
    void received(std::size_t count) noexcept override { input_.put(count); }
    Result<bool, Fault> handshake() override;
    Result<std::size_t, Fault> encrypt(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] std::span<const std::uint8_t> output() const noexcept override {
        return output_.content();
    }
    void sent(std::size_t count) noexcept override { output_.take(count); }
    void close() noexcept override;
    Result<Decrypted, Fault> decrypt(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] Fault truncated() const override;
    [[nodiscard]] std::string description() const override;

  private:
    /// One call of InitializeSecurityContext with what input there is; takes what it used and puts
    /// what it says to `answer`.
    SECURITY_STATUS negotiate(bool with_input, TlsBuffer& answer);
    Fault establish();
    /// Tells the peer: a close_notify, or a fatal alert.
    void say(void* token, ULONG size) noexcept;
    Result<std::size_t, Fault> encrypt_record(std::span<const IoSlice> slices, std::size_t skip,
                                              std::size_t count) noexcept;
    /// The next record, or what Schannel has to do between records.
    Fault decrypt_record() noexcept;
    Fault after_handshake() noexcept;
    Fault fail(Fault fault) noexcept {
        broken_ = std::move(fault);
        return broken_;
    }
    [[nodiscard]] Fault status_fault(SECURITY_STATUS status) const;
    [[nodiscard]] Missed missed() const noexcept {
        return Missed{certificate_missed_.load(std::memory_order_relaxed)};
    }
    void note_plain_records() noexcept;

    const std::shared_ptr<const SchannelCredentials> credentials_;
    const std::string hostname_;
    std::wstring target_;
    CtxtHandle context_{};
    bool begun_ = false;  // there is a context
    bool established_ = false;
    bool supplied_ = false;  // said that there are no other credentials than these
    // Until the server has shown that it needs none; both sides ask.
    std::atomic<bool> certificate_missed_ = false;
    bool version_13_ = false;
    unsigned alert_ = 0;  // a fatal one that came in the clear
    SecPkgContext_StreamSizes sizes_{};

    // The sender's.
    TlsBuffer output_{buffer_size};

    // What Schannel answers to a message between records (a key update): before the next record of
    // ours, and nobody may encrypt meanwhile.
    std::mutex answer_lock_;
    TlsBuffer answer_{4 * record_extra_max};

    // The receiver's. The front of the input is a record that has been decrypted where it is.
    TlsBuffer input_{buffer_size};
    std::span<const std::uint8_t> plain_;  // of it, not yet taken
    std::size_t record_size_ = 0;          // of it, until it is taken whole
    bool more_needed_ = false;
    bool between_records_ = false;  // Schannel has a message to work on
    bool closed_ = false;
    Fault broken_;
};

SECURITY_STATUS SchannelSession::negotiate(bool with_input, TlsBuffer& answer) {
    const auto given = input_.content();
    std::array<SecBuffer, 2> in{{{static_cast<ULONG>(given.size()), SECBUFFER_TOKEN, given.data()},
                                 {0, SECBUFFER_EMPTY, nullptr}}};
    SecBufferDesc in_list{SECBUFFER_VERSION, static_cast<ULONG>(in.size()), in.data()};
    std::array<SecBuffer, 2> out{{{0, SECBUFFER_TOKEN, nullptr}, {0, SECBUFFER_ALERT, nullptr}}};
    SecBufferDesc out_list{SECBUFFER_VERSION, static_cast<ULONG>(out.size()), out.data()};
    ULONG attributes = 0;
    TimeStamp expiry;
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
    if (with_input && (status == SEC_E_OK || status == SEC_I_CONTINUE_NEEDED))
        input_.take(given.size() - left_over(in, given.size()));
    return fits ? status : SEC_E_BUFFER_TOO_SMALL;
}

void SchannelSession::note_plain_records() noexcept {
    const auto seen = look_at_records(input_.content());
    if (seen.alert != 0) alert_ = seen.alert;
    if (seen.certificate_asked && !credentials_->client_certificate())
        certificate_missed_.store(true, std::memory_order_relaxed);
}

Result<bool, Fault> SchannelSession::handshake() {
    if (broken_.code != FaultCode::none) return Failure{broken_};
    for (;;) {
        if (begun_ && input_.empty()) return false;
        if (begun_) note_plain_records();
        const auto status = negotiate(begun_, output_);
        if (status == SEC_E_INCOMPLETE_MESSAGE) return false;
        if (status == SEC_I_CONTINUE_NEEDED) continue;
        if (status == SEC_I_INCOMPLETE_CREDENTIALS && !supplied_) {
            // The server asks for a certificate and Schannel has none that fits: goes on without.
            supplied_ = true;
            certificate_missed_.store(true, std::memory_order_relaxed);
            continue;
        }
        if (status != SEC_E_OK) return Failure{fail(status_fault(status))};
        if (auto fault = establish(); fault.code != FaultCode::none) {
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
    if (!credentials_->settings().verify_peer) return {};

    PCCERT_CONTEXT shown = nullptr;
    status = ::QueryContextAttributesW(&context_, SECPKG_ATTR_REMOTE_CERT_CONTEXT,
                                       static_cast<void*>(&shown));
    const Certificate certificate(shown);
    if (status != SEC_E_OK || !certificate) return untrusted_fault("the server has sent none");
    return verify_server(*certificate, *credentials_, hostname_);
}

void SchannelSession::say(void* token, ULONG size) noexcept {
    const std::lock_guard lock(answer_lock_);
    if (!begun_) return;
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

Result<std::size_t, Fault> SchannelSession::encrypt_record(std::span<const IoSlice> slices,
                                                           std::size_t skip,
                                                           std::size_t count) noexcept {
    const std::lock_guard lock(answer_lock_);
    output_.append(answer_.content());
    answer_.take(answer_.content().size());

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
        certificate_missed_.store(false, std::memory_order_relaxed);
        result.state = Incoming::data;
        result.more = slices.empty() || closed_ || broken_.code != FaultCode::none;
        return result;
    }
    if (broken_.code != FaultCode::none) return Failure{broken_};
    if (closed_) result.state = Incoming::closed;
    return result;
}

Fault SchannelSession::decrypt_record() noexcept {
    if (between_records_) return after_handshake();
    const auto content = input_.content();
    if (content.empty()) {
        more_needed_ = true;
        return {};
    }
    std::array<SecBuffer, 4> buffers{
        {{static_cast<ULONG>(content.size()), SECBUFFER_DATA, content.data()},
         {0, SECBUFFER_EMPTY, nullptr},
         {0, SECBUFFER_EMPTY, nullptr},
         {0, SECBUFFER_EMPTY, nullptr}}};
    SecBufferDesc list{SECBUFFER_VERSION, static_cast<ULONG>(buffers.size()), buffers.data()};
    const auto status = ::DecryptMessage(&context_, &list, 0, nullptr);
    if (status == SEC_E_INCOMPLETE_MESSAGE) {
        more_needed_ = true;
        return {};
    }
    if (status != SEC_E_OK && status != SEC_I_CONTEXT_EXPIRED && status != SEC_I_RENEGOTIATE)
        return status_fault(status);

    record_size_ = content.size() - left_over(buffers, content.size());
    for (const auto& buffer : buffers) {
        if (buffer.BufferType != SECBUFFER_DATA || buffer.cbBuffer == 0) continue;
        const auto* const data = static_cast<const std::uint8_t*>(buffer.pvBuffer);
        const auto* const end = content.data() + record_size_;
        if (data < content.data() || data > end ||
            buffer.cbBuffer > static_cast<std::size_t>(end - data))
            return failed_fault("Schannel's plain bytes are not where the record was");
        plain_ = {data, buffer.cbBuffer};
        break;
    }
    if (status == SEC_I_CONTEXT_EXPIRED) closed_ = true;
    if (status == SEC_I_RENEGOTIATE) {
        // TLS 1.2 would negotiate anew here, of which nothing good is known.
        if (!version_13_) return failed_fault("the server wants to renegotiate, which is refused");
        between_records_ = true;
    }
    return {};
}

/// TLS 1.3's messages between records: tickets, key updates. The input begins with one.
Fault SchannelSession::after_handshake() noexcept {
    if (input_.empty()) {
        more_needed_ = true;
        return {};
    }
    const std::lock_guard lock(answer_lock_);
    const auto status = negotiate(true, answer_);
    if (status == SEC_E_INCOMPLETE_MESSAGE || status == SEC_I_CONTINUE_NEEDED) {
        more_needed_ = status == SEC_E_INCOMPLETE_MESSAGE || input_.empty();
        return {};
    }
    if (status != SEC_E_OK) return status_fault(status);
    between_records_ = false;
    return {};
}

Fault SchannelSession::truncated() const {
    if (!established_ && alert_ != 0) return alert_fault(alert_, missed());
    return truncated_fault(established_ ? Phase::established : Phase::handshake, missed());
}

std::string SchannelSession::description() const {
    SecPkgContext_ConnectionInfo info{};
    if (::QueryContextAttributesW(const_cast<CtxtHandle*>(&context_), SECPKG_ATTR_CONNECTION_INFO,
                                  &info) != SEC_E_OK)
        return "TLS";
    return std::string(version_13_ ? "TLS 1.3" : "TLS 1.2") + ", " +
           std::to_string(info.dwCipherStrength) + " bits";
}

Fault SchannelSession::status_fault(SECURITY_STATUS status) const {
    if (alert_ != 0) return alert_fault(alert_, missed());
    if (missed() == Missed::yes) {
        auto fault = truncated_fault(Phase::handshake, Missed::yes);
        fault.got = static_cast<std::uint32_t>(status);
        return fault;
    }
    if (status == SEC_E_ALGORITHM_MISMATCH || status == SEC_E_UNSUPPORTED_FUNCTION)
        return failed_fault(
            "the server has no version and cipher of TLS in common with this system");
    return failed_fault(status_text(static_cast<DWORD>(status)));
}

}  // namespace
}  // namespace wnbd::nbd::tls

namespace wnbd::nbd {

Result<std::unique_ptr<TlsSession>, Fault> TlsSession::create(
    std::shared_ptr<const TlsCredentials> credentials, const std::string& hostname) {
    return std::unique_ptr<TlsSession>(std::make_unique<tls::SchannelSession>(
        std::static_pointer_cast<const tls::SchannelCredentials>(std::move(credentials)),
        hostname));
}

}  // namespace wnbd::nbd
