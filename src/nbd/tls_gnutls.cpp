// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS by GnuTLS.
#include "nbd/tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "nbd/tls_buffer.h"
#include "nbd/tls_gnutls.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

/// One record's plain bytes that come in small slices: a header and what follows it.
using Staging = std::array<std::uint8_t, TlsSession::record_plain_max>;

/// A walk over slices.
class Cursor {
  public:
    explicit Cursor(std::span<const IoSlice> slices) noexcept : slices_(slices) { skip_empty(); }

    [[nodiscard]] bool at_end() const noexcept { return slices_.empty(); }
    /// What is left of the present slice.
    [[nodiscard]] std::span<std::uint8_t> piece() const noexcept {
        return std::span(slices_.front().data, slices_.front().size).subspan(offset_);
    }
    void advance(std::size_t count) noexcept {
        offset_ += count;
        skip_empty();
    }

  private:
    void skip_empty() noexcept {
        while (!slices_.empty() && offset_ == slices_.front().size) {
            slices_ = slices_.subspan(1);
            offset_ = 0;
        }
    }

    std::span<const IoSlice> slices_;
    std::size_t offset_ = 0;
};

class GnutlsSession final : public TlsSession {
  public:
    explicit GnutlsSession(std::shared_ptr<const GnutlsCredentials> credentials)
        : credentials_(std::move(credentials)) {}
    GnutlsSession(const GnutlsSession&) = delete;
    GnutlsSession& operator=(const GnutlsSession&) = delete;
    ~GnutlsSession() override {
        if (session_ != nullptr) ::gnutls_deinit(session_);
    }

    Fault start(const std::string& hostname);

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
    static ssize_t push(gnutls_transport_ptr_t self, const void* data, std::size_t size);
    static ssize_t pull(gnutls_transport_ptr_t self, void* data, std::size_t size);
    static int pull_ready(gnutls_transport_ptr_t self, unsigned time_max_ms);

    [[nodiscard]] Fault fault_of(int error) const;
    void expect_server() noexcept;
    [[nodiscard]] Fault certificate_fault() const;
    [[nodiscard]] Asked asked() const noexcept { return asked_.load(std::memory_order_relaxed); }
    void note_request() noexcept;
    /// What the next record is made of; advances the cursor.
    [[nodiscard]] std::span<const std::uint8_t> next_record(Cursor& cursor) noexcept;

    const std::shared_ptr<const GnutlsCredentials> credentials_;
    // GnuTLS keeps the addresses of these two.
    std::string hostname_;
    std::array<gnutls_typed_vdata_st, 2> expected_{};
    gnutls_session_t session_ = nullptr;
    bool established_ = false;
    // Until the server has shown that it needs none; both sides ask.
    std::atomic<Asked> asked_ = Asked::no;

    // The sender's. Between records there is room for one, and for a key update before it.
    TlsBuffer output_{buffer_size};
    Staging staging_;

    // The receiver's.
    TlsBuffer input_{buffer_size};
    bool closed_ = false;  // the peer's close_notify came
    Fault broken_;         // told once the data before it are taken
};

Fault GnutlsSession::start(const std::string& hostname) {
    if (const int error = ::gnutls_init(
            &session_, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);
        error < 0)
        return failed_fault(::gnutls_strerror(error));
    const auto& settings = credentials_->settings();
    hostname_ = settings.hostname.empty() ? hostname : settings.hostname;
    // No certificate has an address with a zone.
    if (is_ip_address(hostname_)) hostname_.resize(std::min(hostname_.find('%'), hostname_.size()));

    constexpr const char* by_certificate = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    constexpr const char* by_psk =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK";
    int error = ::gnutls_priority_set_direct(
        session_, credentials_->psk() ? by_psk : by_certificate, nullptr);
    if (error >= 0) error = credentials_->apply(session_);
    if (error >= 0 && !hostname_.empty() && !is_ip_address(hostname_))
        error =
            ::gnutls_server_name_set(session_, GNUTLS_NAME_DNS, hostname_.data(), hostname_.size());
    if (error < 0) return failed_fault(::gnutls_strerror(error));
    if (!credentials_->psk() && settings.verify_peer) expect_server();

    ::gnutls_transport_set_ptr(session_, this);
    ::gnutls_transport_set_push_function(session_, push);
    ::gnutls_transport_set_pull_function(session_, pull);
    ::gnutls_transport_set_pull_timeout_function(session_, pull_ready);
    return {};
}

/// GnuTLS asks for the purpose of the certificate only where it is told one.
void GnutlsSession::expect_server() noexcept {
    static char server_use[] = GNUTLS_KP_TLS_WWW_SERVER;
    unsigned count = 0;
    const auto expect = [&](gnutls_vdata_types_t type, char* text) {
        expected_[count++] = {type, reinterpret_cast<unsigned char*>(text), 0};
    };
    expect(GNUTLS_DT_KEY_PURPOSE_OID, server_use);
    if (!hostname_.empty()) expect(GNUTLS_DT_DNS_HOSTNAME, hostname_.data());
    ::gnutls_session_set_verify_cert2(session_, expected_.data(), count, 0);
}

// These tell GnuTLS by errno alone: its own place for the number is the session's, which the
// sending and the receiving thread would share.
ssize_t GnutlsSession::push(gnutls_transport_ptr_t self, const void* data, std::size_t size) {
    auto& output = static_cast<GnutlsSession*>(self)->output_;
    const auto taken = output.append({static_cast<const std::uint8_t*>(data), size});
    if (taken > 0 || size == 0) return static_cast<ssize_t>(taken);
    errno = EAGAIN;
    return -1;
}

ssize_t GnutlsSession::pull(gnutls_transport_ptr_t self, void* data, std::size_t size) {
    auto& input = static_cast<GnutlsSession*>(self)->input_;
    const auto content = input.content();
    const auto taken = std::min(size, content.size());
    if (taken > 0) {
        std::memcpy(data, content.data(), taken);
        input.take(taken);
        return static_cast<ssize_t>(taken);
    }
    errno = EAGAIN;
    return -1;
}

int GnutlsSession::pull_ready(gnutls_transport_ptr_t self, unsigned /*time_max_ms*/) {
    return static_cast<GnutlsSession*>(self)->input_.empty() ? 0 : 1;
}

void GnutlsSession::note_request() noexcept {
    if (credentials_->psk() || ::gnutls_certificate_client_get_request_status(session_) == 0)
        return;
    asked_.store(credentials_->client_certificate() ? Asked::shown : Asked::missed,
                 std::memory_order_relaxed);
}

Result<bool, Fault> GnutlsSession::handshake() {
    if (broken_.code != FaultCode::none) return Failure{broken_};
    for (;;) {
        const int error = ::gnutls_handshake(session_);
        note_request();
        if (error == GNUTLS_E_SUCCESS) break;
        if (error == GNUTLS_E_AGAIN) return false;
        // An interruption, or an alert that is but a warning.
        if (::gnutls_error_is_fatal(error) == 0) continue;
        broken_ = fault_of(error);
        (void)::gnutls_alert_send_appropriate(session_, error);
        return Failure{broken_};
    }
    established_ = true;
    return true;
}

std::span<const std::uint8_t> GnutlsSession::next_record(Cursor& cursor) noexcept {
    // A whole record's worth in one piece is encrypted from where it is.
    if (const auto piece = cursor.piece(); piece.size() >= staging_.size()) {
        cursor.advance(staging_.size());
        return piece.first(staging_.size());
    }
    std::size_t staged = 0;
    while (staged < staging_.size() && !cursor.at_end()) {
        const auto piece = cursor.piece();
        const auto count = std::min(piece.size(), staging_.size() - staged);
        std::memcpy(staging_.data() + staged, piece.data(), count);
        staged += count;
        cursor.advance(count);
    }
    return std::span(staging_).first(staged);
}

Result<std::size_t, Fault> GnutlsSession::encrypt(std::span<const IoSlice> slices) noexcept {
    // A key update may go before a record.
    constexpr auto room_min = record_plain_max + 2 * record_extra_max;
    std::size_t taken = 0;
    Cursor cursor(slices);
    while (!cursor.at_end() && output_.room().size() >= room_min) {
        const auto record = next_record(cursor);
        ssize_t done;
        do
            done = ::gnutls_record_send(session_, record.data(), record.size());
        while (done == GNUTLS_E_INTERRUPTED);
        if (done != static_cast<ssize_t>(record.size()))
            return Failure{failed_fault(done < 0 ? ::gnutls_strerror(static_cast<int>(done))
                                                 : "a record was cut")};
        taken += record.size();
    }
    return taken;
}

void GnutlsSession::close() noexcept {
    if (established_) (void)::gnutls_bye(session_, GNUTLS_SHUT_WR);
}

Result<TlsSession::Decrypted, Fault> GnutlsSession::decrypt(
    std::span<const IoSlice> slices) noexcept {
    Decrypted result;
    Cursor cursor(slices);
    while (!cursor.at_end() && !closed_ && broken_.code == FaultCode::none) {
        const auto piece = cursor.piece();
        const auto input_before = input_.content().size();
        const auto got = ::gnutls_record_recv(session_, piece.data(), piece.size());
        if (got > 0) {
            asked_.store(Asked::no, std::memory_order_relaxed);
            cursor.advance(static_cast<std::size_t>(got));
            result.bytes += static_cast<std::size_t>(got);
        } else if (got == 0) {
            closed_ = true;
        } else if (got == GNUTLS_E_AGAIN) {
            // Also after a message that is no data: then there may be more behind it.
            if (input_.empty() || input_.content().size() == input_before) break;
        } else if (::gnutls_error_is_fatal(static_cast<int>(got)) != 0) {
            broken_ = fault_of(static_cast<int>(got));
        }
    }
    if (result.bytes > 0) {
        result.state = Incoming::data;
        result.more = cursor.at_end() || closed_ || broken_.code != FaultCode::none;
        return result;
    }
    if (broken_.code != FaultCode::none) return Failure{broken_};
    if (closed_) result.state = Incoming::closed;
    return result;
}

Fault GnutlsSession::truncated() const {
    return truncated_fault(established_ ? Phase::established : Phase::handshake, asked());
}

std::string GnutlsSession::description() const {
    // GnuTLS says "TLS1.3".
    std::string_view version = ::gnutls_protocol_get_name(::gnutls_protocol_get_version(session_));
    if (version.starts_with("TLS")) version.remove_prefix(3);
    std::string text = "TLS ";
    text.append(version).append(", ").append(
        ::gnutls_cipher_get_name(::gnutls_cipher_get(session_)));
    return text;
}

Fault GnutlsSession::fault_of(int error) const {
    switch (error) {
        case GNUTLS_E_FATAL_ALERT_RECEIVED:
            return alert_fault(::gnutls_alert_get(session_), asked());
        case GNUTLS_E_CERTIFICATE_ERROR:
        case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR: return certificate_fault();
        case GNUTLS_E_NO_CERTIFICATE_FOUND: return untrusted_fault("the server has sent none");
        case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
        case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
            return failed_fault("the server does not speak TLS 1.2 or 1.3");
        default: return failed_fault(::gnutls_strerror(error));
    }
}

/// A certificate of the peer, parsed.
class PeerCertificate {
  public:
    explicit PeerCertificate(gnutls_session_t session) {
        unsigned count = 0;
        const auto* const chain = ::gnutls_certificate_get_peers(session, &count);
        if (count > 0 && ::gnutls_x509_crt_init(&certificate_) >= 0)
            (void)::gnutls_x509_crt_import(certificate_, chain, GNUTLS_X509_FMT_DER);
    }
    PeerCertificate(const PeerCertificate&) = delete;
    PeerCertificate& operator=(const PeerCertificate&) = delete;
    ~PeerCertificate() {
        if (certificate_ != nullptr) ::gnutls_x509_crt_deinit(certificate_);
    }

    [[nodiscard]] explicit operator bool() const noexcept { return certificate_ != nullptr; }
    [[nodiscard]] gnutls_x509_crt_t get() const noexcept { return certificate_; }

    /// The DNS names among the subject's alternatives.
    [[nodiscard]] std::string names() const {
        constexpr unsigned names_max = 8;
        std::string text;
        for (unsigned i = 0; i < names_max; ++i) {
            std::array<char, 256> name{};
            std::size_t size = name.size();
            const int kind = ::gnutls_x509_crt_get_subject_alt_name(certificate_, i, name.data(),
                                                                    &size, nullptr);
            if (kind < 0) break;
            if (kind != GNUTLS_SAN_DNSNAME) continue;
            if (!text.empty()) text += ", ";
            text.append("'").append(name.data(), std::min(size, name.size())).append("'");
        }
        return text;
    }

  private:
    gnutls_x509_crt_t certificate_ = nullptr;
};

Fault GnutlsSession::certificate_fault() const {
    const unsigned status = ::gnutls_session_get_verify_cert_status(session_);
    const auto& settings = credentials_->settings();
    const PeerCertificate peer(session_);
    if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0) return unknown_ca_fault(settings.ca_file);
    if ((status & GNUTLS_CERT_REVOKED) != 0) return revoked_fault(settings.crl_file);
    if ((status & GNUTLS_CERT_SIGNATURE_FAILURE) != 0)
        return untrusted_fault("a signature is wrong");
    if (peer && (status & GNUTLS_CERT_EXPIRED) != 0)
        return expired_fault(::gnutls_x509_crt_get_expiration_time(peer.get()));
    if (peer && (status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
        return not_yet_valid_fault(::gnutls_x509_crt_get_activation_time(peer.get()));
    if (peer && (status & GNUTLS_CERT_UNEXPECTED_OWNER) != 0)
        return wrong_name_fault(peer.names(), hostname_);
    if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
        return untrusted_fault("it is not made for a server");
    gnutls_datum_t text{};
    if (::gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        return untrusted_fault("it cannot be verified");
    auto fault = untrusted_fault(reinterpret_cast<const char*>(text.data));
    ::gnutls_free(text.data);
    return fault;
}

}  // namespace
}  // namespace wnbd::nbd::tls

namespace wnbd::nbd {

Result<std::unique_ptr<TlsSession>, Fault> TlsSession::create(
    std::shared_ptr<const TlsCredentials> credentials, const std::string& hostname) {
    auto session = std::make_unique<tls::GnutlsSession>(
        std::static_pointer_cast<const tls::GnutlsCredentials>(std::move(credentials)));
    if (auto fault = session->start(hostname); fault.code != FaultCode::none)
        return Failure{std::move(fault)};
    return std::unique_ptr<TlsSession>(std::move(session));
}

}  // namespace wnbd::nbd
