// SPDX-License-Identifier: LGPL-2.1-or-later
// What a server says of an export, and what was agreed on with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "nbd/fault.h"
#include "nbd/protocol.h"

namespace wnbd::nbd {

/// What the server says of an export.
struct ExportInfo {
    std::uint64_t size = 0;                // bytes, 1 to max_export_size
    std::uint16_t transmission_flags = 0;  // 0 unless the server says that its flags are valid
    std::uint32_t minimum_block = 1;       // bytes, a power of two up to 64 KiB
    std::uint32_t preferred_block = default_preferred_block;  // bytes
    std::uint32_t maximum_payload = default_maximum_payload;  // bytes, a multiple of minimum_block
    std::string canonical_name{};  // NBD_INFO_NAME, UTF-8, unprinted; empty: not said
    std::string description{};     // NBD_INFO_DESCRIPTION
};

/// How the server answers in transmission, and how requests look.
enum class WireFormat : std::uint8_t {
    simple,      // simple replies only
    structured,  // NBD_OPT_STRUCTURED_REPLY
    extended,    // NBD_OPT_EXTENDED_HEADERS: 64-bit lengths in requests and replies
};

/// What a negotiation that ends in transmission has agreed on.
struct Agreement {
    ExportInfo info{};
    WireFormat format = WireFormat::simple;
    std::optional<std::uint32_t> allocation_context{};  // the id of base:allocation
    bool tls = false;
    std::string tls_session{};  // "TLS 1.3, AES-256-GCM"; empty without TLS
};

/// Checks an export's size and block sizes: the server's, or a caller's who skips the handshake.
[[nodiscard]] Fault check_export(const ExportInfo& info);

}  // namespace wnbd::nbd
