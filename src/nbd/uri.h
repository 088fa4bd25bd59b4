// SPDX-License-Identifier: LGPL-2.1-or-later
// NBD URIs: nbd://host[:port]/export and nbd+unix:///export?socket=/path ("NBD URI Format").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace wnbd::nbd {

inline constexpr std::uint16_t default_port = 10809;

/// Where an export is.
struct Address {
    std::string host{};  // name, IPv4 or IPv6 address without brackets; empty: Unix socket
    std::uint16_t port = default_port;  // 1 to 65535
    std::string socket_path{};          // of a Unix socket; empty: TCP
    std::string export_name{};          // at most max_export_name bytes, may be empty

    /// For messages: "host:port", "[v6]:port" or the path.
    [[nodiscard]] std::string endpoint() const;
};

/// Reads a URI, or says in one line what is wrong with it.
[[nodiscard]] Result<Address, std::string> parse_uri(std::string_view uri);

/// Reads a port number from 1 to 65535.
[[nodiscard]] Result<std::uint16_t, std::string> parse_port(std::string_view text);

/// Undoes %XX. An incomplete escape and %00 are refused.
[[nodiscard]] Result<std::string, std::string> percent_decode(std::string_view text);

}  // namespace wnbd::nbd
