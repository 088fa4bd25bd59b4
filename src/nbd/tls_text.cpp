// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/tls_text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <utility>

#include "nbd/tls.h"

namespace wnbd::nbd {
namespace {

std::filesystem::path path_of(const std::string& utf8) {
    return std::u8string(utf8.begin(), utf8.end());
}

}  // namespace

void TlsSettings::use_certificate_folder(const std::string& folder) {
    const auto named = [&](const char* name) { return folder + "/" + name; };
    const auto if_there = [&](const char* name) {
        std::error_code ignored;
        return std::filesystem::exists(path_of(named(name)), ignored) ? named(name) : "";
    };
    ca_file = named("ca-cert.pem");
    crl_file = if_there("ca-crl.pem");
    client_cert = if_there("client-cert.pem");
    client_key = if_there("client-key.pem");
#if defined(_WIN32)
    if (const auto pfx = if_there("client.pfx"); !pfx.empty()) {
        client_cert = pfx;
        client_key.clear();
    }
#endif
}

namespace tls {
namespace {

constexpr std::pair<unsigned, std::string_view> alert_names[] = {
    {0, "close notify"},
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {22, "record overflow"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "certificate revoked"},
    {45, "certificate expired"},
    {46, "certificate unknown"},
    {47, "illegal parameter"},
    {48, "unknown CA"},
    {49, "access denied"},
    {50, "decode error"},
    {51, "decrypt error"},
    {70, "protocol version"},
    {71, "insufficient security"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

constexpr const char* certificate_wanted =
    "the server wants a client certificate: put client-cert.pem and client-key.pem into the folder "
    "of the TLS certificates";
constexpr const char* certificate_perhaps_wanted =
    "TLS ended before the server said anything over it: if it wants a client certificate, put "
    "client-cert.pem and client-key.pem into the folder of the TLS certificates";

constexpr const char* certificate_refused =
    "the server does not accept the client certificate: check that it comes from a CA that the "
    "server trusts";
constexpr const char* certificate_perhaps_refused =
    "the server ended TLS: it may not accept the client certificate; check that it comes from a CA "
    "that the server trusts";

/// Alerts about the peer's certificate, which is ours (RFC 8446, 6.2).
bool about_certificate(unsigned alert) noexcept {
    constexpr unsigned alerts[] = {42, 43, 44, 45, 46, 48, 49, 116};
    return std::ranges::find(alerts, alert) != std::end(alerts);
}

std::string day(std::int64_t when) {
    const auto seconds = static_cast<std::time_t>(when);
    std::tm parts{};
#if defined(_WIN32)
    if (::gmtime_s(&parts, &seconds) != 0) return "an unknown day";
#else
    if (::gmtime_r(&seconds, &parts) == nullptr) return "an unknown day";
#endif
    char text[32];
    return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts)};
}

}  // namespace

std::string_view alert_name(unsigned alert) noexcept {
    const auto* const found =
        std::ranges::find(alert_names, alert, &std::pair<unsigned, std::string_view>::first);
    return found == std::end(alert_names) ? "unknown alert" : found->second;
}

Fault alert_fault(unsigned alert, Asked client_certificate) {
    constexpr unsigned certificate_required = 116;
    const auto which =
        "the alert '" + std::string(alert_name(alert)) + "' (" + std::to_string(alert) + ")";
    if (client_certificate == Asked::shown) {
        const auto* const text =
            about_certificate(alert) ? certificate_refused : certificate_perhaps_refused;
        return {.code = FaultCode::tls_client_certificate_refused,
                .got = alert,
                .text = text + (" (it sent " + which + ")")};
    }
    if (alert == certificate_required || client_certificate == Asked::missed)
        return {.code = FaultCode::tls_client_certificate_wanted,
                .got = alert,
                .text = certificate_wanted + (" (it sent " + which + ")")};
    return {
        .code = FaultCode::tls_alert, .got = alert, .text = "the server ended TLS with " + which};
}

Fault truncated_fault(Phase phase, Asked client_certificate) {
    // A server that verifies after the handshake just hangs up.
    if (client_certificate == Asked::missed)
        return {.code = FaultCode::tls_client_certificate_wanted, .text = certificate_wanted};
    if (client_certificate == Asked::perhaps)
        return {.code = FaultCode::tls_client_certificate_wanted,
                .text = certificate_perhaps_wanted};
    if (client_certificate == Asked::shown)
        return {.code = FaultCode::tls_client_certificate_refused,
                .text = certificate_perhaps_refused};
    if (phase == Phase::handshake)
        return {.code = FaultCode::tls_truncated,
                .text = "the server closed the connection during the TLS handshake"};
    return {.code = FaultCode::tls_truncated,
            .text = "the connection was cut: it ended without TLS's farewell"};
}

bool concerns_client_certificate(const Fault& fault) noexcept {
    return fault.code == FaultCode::tls_client_certificate_wanted ||
           fault.code == FaultCode::tls_client_certificate_refused;
}

Fault wrong_name_fault(const std::string& names, const std::string& hostname) {
    const auto whom = names.empty() ? "names nobody" : "is for " + printable(names);
    return {.code = FaultCode::tls_wrong_name,
            .text = "the server's certificate " + whom + ", not for '" + printable(hostname) +
                    "': connect by a name that it has, or say it with tls-hostname"};
}

Fault unknown_ca_fault(const std::string& ca_file) {
    const auto by = ca_file.empty() ? "that this system trusts: give the CA's certificate, as "
                                      "ca-cert.pem in the folder of tls-certificates"
                                    : "in '" + ca_file + "'";
    return {.code = FaultCode::tls_unknown_ca,
            .text = "the server's certificate is not signed by a CA " + by};
}

Fault expired_fault(std::int64_t when) {
    return {.code = FaultCode::tls_expired,
            .text = "the server's certificate, or one of its CAs', expired on " + day(when) +
                    ": the server needs a new one"};
}

Fault not_yet_valid_fault(std::int64_t when) {
    return {.code = FaultCode::tls_expired,
            .text = "the server's certificate is not valid before " + day(when) +
                    ": check both clocks"};
}

Fault revoked_fault(const std::string& crl_file) {
    return {.code = FaultCode::tls_untrusted,
            .text = "the server's certificate is revoked by '" + crl_file + "'"};
}

Fault untrusted_fault(const std::string& why) {
    return {.code = FaultCode::tls_untrusted,
            .text = "the server's certificate is not accepted: " + printable(why)};
}

Fault failed_fault(const std::string& why) {
    return {.code = FaultCode::tls_failed, .text = "TLS failed: " + printable(why)};
}

Fault file_fault(const std::string& file, const std::string& why) {
    return {.code = FaultCode::tls_file, .text = "cannot use '" + file + "': " + printable(why)};
}

Fault key_mismatch_fault(const std::string& key_file, const std::string& cert_file) {
    return {.code = FaultCode::tls_key_mismatch,
            .text = "the key in '" + key_file + "' does not belong to the certificate in '" +
                    cert_file + "'"};
}

Result<std::string, Fault> read_file(const std::string& file) {
    constexpr std::size_t size_max = std::size_t{1} << 20;
    errno = 0;
    std::ifstream stream(path_of(file), std::ios::binary);
    std::string content(size_max + 1, '\0');
    if (stream) stream.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (!stream.is_open() || stream.bad()) {
        const int error = errno;
        return Failure{file_fault(file, error != 0 ? std::strerror(error) : "it cannot be read")};
    }
    content.resize(static_cast<std::size_t>(stream.gcount()));
    if (content.size() > size_max)
        return Failure{file_fault(file, "it is larger than 1 MiB, which no PEM file is")};
    return content;
}

bool is_ip_address(const std::string& host) noexcept {
    // A name has no colon, and its last part is no number (RFC 3696, 2).
    if (host.find(':') != std::string::npos) return true;
    const auto last = host.substr(host.rfind('.') + 1);
    return !last.empty() && last.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace tls
}  // namespace wnbd::nbd
