// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a server listens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/result.h"

namespace wnbd::iscsi {

/// A value.
struct Endpoint {
    std::string address;     // numeric; IPv6 without brackets
    std::uint16_t port = 0;  // 0: whichever is free
    /// Reached from this machine alone.
    bool loopback = false;
};

/// "127.0.0.1:3260" or "[::1]:3260".
[[nodiscard]] std::string portal_text(std::string_view address, std::uint16_t port);

/// Asks the system for the addresses of `host`, a name or an address; at least one on success. May
/// wait for a name server. The error is one line without an end.
[[nodiscard]] Result<std::vector<Endpoint>, std::string> resolve(const std::string& host,
                                                                 std::uint16_t port);

/// The system's text of an error of a socket, without an end, in UTF-8.
[[nodiscard]] std::string error_text(const std::error_code& error);

}  // namespace wnbd::iscsi
