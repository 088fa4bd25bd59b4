// SPDX-License-Identifier: LGPL-2.1-or-later
// What TLS's troubles are called, the same for every library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "nbd/fault.h"

namespace wnbd::nbd::tls {

/// The registered name of an alert (RFC 8446, 6): "handshake failure"; "unknown alert" for others.
[[nodiscard]] std::string_view alert_name(unsigned alert) noexcept;

/// Whether the server has asked for a certificate of ours and nothing of use has come from it
/// since.
enum class Asked : std::uint8_t {
    no,
    perhaps,  // that is not known, and it has got none
    missed,   // it has got none
    shown,    // it has got ours, or perhaps has
};

/// The server ended TLS with this alert.
[[nodiscard]] Fault alert_fault(unsigned alert, Asked client_certificate);
/// The connection ended without a close_notify: in the handshake, or later.
enum class Phase : bool { handshake, established };
[[nodiscard]] Fault truncated_fault(Phase phase, Asked client_certificate);

/// Says more than the system's error of the same end does.
[[nodiscard]] bool concerns_client_certificate(const Fault& fault) noexcept;

/// `names`: whom the certificate is for, as far as it says.
[[nodiscard]] Fault wrong_name_fault(const std::string& names, const std::string& hostname);
[[nodiscard]] Fault unknown_ca_fault(const std::string& ca_file);
/// `when`: seconds since 1970, UTC.
[[nodiscard]] Fault expired_fault(std::int64_t when);
[[nodiscard]] Fault not_yet_valid_fault(std::int64_t when);
[[nodiscard]] Fault revoked_fault(const std::string& crl_file);
/// The server has sent no certificate at all, or another trouble with it, in words.
[[nodiscard]] Fault untrusted_fault(const std::string& why);
[[nodiscard]] Fault failed_fault(const std::string& why);

[[nodiscard]] Fault file_fault(const std::string& file, const std::string& why);
[[nodiscard]] Fault key_mismatch_fault(const std::string& key_file, const std::string& cert_file);

/// The whole file, of at most 1 MiB.
[[nodiscard]] Result<std::string, Fault> read_file(const std::string& file);

/// Whether a server's name is an address, which goes into no SNI.
[[nodiscard]] bool is_ip_address(const std::string& host) noexcept;

}  // namespace wnbd::nbd::tls
