// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gnutls/x509.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "nbd/tls_gnutls.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

gnutls_datum_t datum(std::string& bytes) noexcept {
    return {reinterpret_cast<unsigned char*>(bytes.data()), static_cast<unsigned>(bytes.size())};
}

/// One line of a PSK file.
struct PskLine {
    std::string user;
    std::string key;  // hexadecimal
};

std::string_view next_line(std::string_view& text) noexcept {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
        line.remove_suffix(1);
    return line;
}

/// The user's line, or the only one.
Result<PskLine, Fault> find_psk(std::string_view text, const TlsSettings& settings) {
    std::optional<PskLine> found;
    bool several = false;
    while (!text.empty()) {
        const auto line = next_line(text);
        const auto colon = line.rfind(':');
        if (line.empty() || colon == std::string_view::npos) continue;
        PskLine entry{std::string(line.substr(0, colon)), std::string(line.substr(colon + 1))};
        if (!settings.psk_user.empty() && entry.user != settings.psk_user) continue;
        several = found.has_value();
        if (several) break;
        found = std::move(entry);
    }
    const auto& user = settings.psk_user;
    if (!found)
        return Failure{file_fault(settings.psk_file,
                                  user.empty() ? "it has no line of the form user:key"
                                               : "it has no key for the user '" + user + "'")};
    if (several)
        return Failure{file_fault(settings.psk_file,
                                  user.empty() ? "it has several users: name one with tls-username"
                                               : "it has several keys for '" + user + "'")};
    if (found->key.empty() || found->key.size() % 2 != 0 ||
        found->key.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        return Failure{
            file_fault(settings.psk_file, "the key of '" + found->user + "' is not hexadecimal")};
    return std::move(*found);
}

}  // namespace

GnutlsCredentials::~GnutlsCredentials() {
    if (x509_ != nullptr) ::gnutls_certificate_free_credentials(x509_);
    if (psk_ != nullptr) ::gnutls_psk_free_client_credentials(psk_);
}

Fault GnutlsCredentials::read() {
    if (!settings_.psk_file.empty()) return read_psk();
    if (const int error = ::gnutls_certificate_allocate_credentials(&x509_); error < 0)
        return failed_fault(::gnutls_strerror(error));
    if (auto fault = read_trust(); fault.code != FaultCode::none) return fault;
    return read_client_certificate();
}

int GnutlsCredentials::apply(gnutls_session_t session) const noexcept {
    return psk() ? ::gnutls_credentials_set(session, GNUTLS_CRD_PSK, psk_)
                 : ::gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, x509_);
}

Fault GnutlsCredentials::read_psk() {
    auto content = read_file(settings_.psk_file);
    if (!content) return content.error();
    auto line = find_psk(content.value(), settings_);
    if (!line) return line.error();
    int error = ::gnutls_psk_allocate_client_credentials(&psk_);
    if (error < 0) return failed_fault(::gnutls_strerror(error));
    const auto key = datum(line.value().key);
    error = ::gnutls_psk_set_client_credentials(psk_, line.value().user.c_str(), &key,
                                                GNUTLS_PSK_KEY_HEX);
    if (error < 0) return file_fault(settings_.psk_file, ::gnutls_strerror(error));
    return {};
}

Fault GnutlsCredentials::read_trust() {
    if (settings_.ca_file.empty()) {
        // A system without any trusts nobody, which the handshake will say.
        (void)::gnutls_certificate_set_x509_system_trust(x509_);
    } else {
        auto content = read_file(settings_.ca_file);
        if (!content) return content.error();
        const auto pem = datum(content.value());
        const int count = ::gnutls_certificate_set_x509_trust_mem(x509_, &pem, GNUTLS_X509_FMT_PEM);
        if (count == 0 || count == GNUTLS_E_NO_CERTIFICATE_FOUND)
            return file_fault(settings_.ca_file, "it holds no certificate in PEM form");
        if (count < 0) return file_fault(settings_.ca_file, ::gnutls_strerror(count));
    }
    if (settings_.crl_file.empty()) return {};
    auto content = read_file(settings_.crl_file);
    if (!content) return content.error();
    const auto pem = datum(content.value());
    const int count = ::gnutls_certificate_set_x509_crl_mem(x509_, &pem, GNUTLS_X509_FMT_PEM);
    if (count == 0) return file_fault(settings_.crl_file, "it holds no revocation list");
    if (count < 0) return file_fault(settings_.crl_file, ::gnutls_strerror(count));
    return {};
}

Fault GnutlsCredentials::read_client_certificate() {
    const auto& cert_file = settings_.client_cert;
    const auto& key_file = settings_.client_key;
    if (cert_file.empty() && key_file.empty()) return {};
    if (cert_file.empty()) return file_fault(key_file, "there is no client certificate for it");
    if (key_file.empty()) return file_fault(cert_file, "there is no client key for it");
    auto cert = read_file(cert_file);
    if (!cert) return cert.error();
    auto key = read_file(key_file);
    if (!key) return key.error();
    const auto cert_pem = datum(cert.value());
    const auto key_pem = datum(key.value());
    const int error =
        ::gnutls_certificate_set_x509_key_mem(x509_, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM);
    if (error == GNUTLS_E_CERTIFICATE_KEY_MISMATCH) return key_mismatch_fault(key_file, cert_file);
    if (error >= 0) return {};
    // Which of the two it was GnuTLS does not say.
    gnutls_x509_crt_t parsed = nullptr;
    bool cert_good = ::gnutls_x509_crt_init(&parsed) >= 0;
    if (cert_good) {
        cert_good = ::gnutls_x509_crt_import(parsed, &cert_pem, GNUTLS_X509_FMT_PEM) >= 0;
        ::gnutls_x509_crt_deinit(parsed);
    }
    if (!cert_good) return file_fault(cert_file, "it holds no certificate in PEM form");
    if (key.value().find("ENCRYPTED") != std::string::npos)
        return file_fault(key_file, "the key has a password; write it without one");
    return file_fault(key_file, ::gnutls_strerror(error));
}

}  // namespace wnbd::nbd::tls

namespace wnbd::nbd {

Result<std::shared_ptr<const TlsCredentials>, Fault> TlsCredentials::load(
    const TlsSettings& settings) {
    auto credentials = std::make_shared<tls::GnutlsCredentials>(settings);
    if (auto fault = credentials->read(); fault.code != FaultCode::none)
        return Failure{std::move(fault)};
    return std::shared_ptr<const TlsCredentials>(std::move(credentials));
}

}  // namespace wnbd::nbd
