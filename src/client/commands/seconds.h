// SPDX-License-Identifier: LGPL-2.1-or-later
// Options in seconds for an API in milliseconds.
#pragma once

#include <windows.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "client/arguments.h"
#include "client/system.h"

namespace wnbd::client {

/// Empty when 32 bits of milliseconds cannot hold it; that is then reported.
[[nodiscard]] inline std::optional<DWORD> milliseconds(const Arguments& arguments,
                                                       std::string_view option,
                                                       std::uint64_t default_seconds) {
    constexpr std::uint64_t seconds_max = std::numeric_limits<DWORD>::max() / 1000;
    const std::uint64_t seconds = arguments.number(option, default_seconds);
    if (seconds > seconds_max) {
        refuse("Invalid --" + std::string(option) + ": " + std::to_string(seconds) +
                   ". It must be at most " + std::to_string(seconds_max) + " seconds.",
               ERROR_INVALID_PARAMETER);
        return std::nullopt;
    }
    return static_cast<DWORD>(seconds * 1000);
}

}  // namespace wnbd::client
