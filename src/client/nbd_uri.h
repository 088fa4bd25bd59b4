// SPDX-License-Identifier: LGPL-2.1-or-later
// NBD URIs over TCP, as in the NBD project's doc/uri.md: nbd://host[:port][/export].
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace wnbd::client {

struct NbdUri {
    std::string host;  // an IPv6 address without its brackets
    std::optional<std::uint32_t> port;
    std::string export_name;  // percent-decoded; empty: the server's default export
};

/// Whether a server was given as a URI rather than as a host name, which has no "://".
[[nodiscard]] bool is_uri(std::string_view text) noexcept;

/// The error is a sentence that names the fault. Ports are not checked here but for being numbers.
[[nodiscard]] Result<NbdUri, std::string> parse_nbd_uri(std::string_view text);

}  // namespace wnbd::client
