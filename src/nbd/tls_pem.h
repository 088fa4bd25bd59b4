// SPDX-License-Identifier: LGPL-2.1-or-later
// PEM files (RFC 7468), for the TLS library that does not read them itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wnbd::nbd::tls {

struct PemBlock {
    std::string label;               // "CERTIFICATE"
    std::vector<std::uint8_t> data;  // DER
};

/// The well-formed blocks of a file; what stands between them is a comment. A block with headers
/// of the older kind ("Proc-Type: ...", an encrypted key) is there without data.
[[nodiscard]] std::vector<PemBlock> read_pem(std::string_view text);

/// An RSA key of PKCS #1 as a PKCS #8 private key (RFC 5208, 5).
[[nodiscard]] std::vector<std::uint8_t> wrap_rsa_key(const std::vector<std::uint8_t>& pkcs1);

/// The reverse: what wrap_rsa_key() has around it. Empty if it is no PKCS #8 key of RSA.
[[nodiscard]] std::vector<std::uint8_t> unwrap_rsa_key(const std::vector<std::uint8_t>& pkcs8);

}  // namespace wnbd::nbd::tls
