// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's options: names, types, defaults and ranges. The driver enforces them, the client
// names them when a value is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "base/abi.h"

namespace wnbd {

enum class OptionKind : std::uint8_t {
    boolean,  // 0 or 1
    integer,
    timeout,  // milliseconds; 0 stands for the default
};

struct OptionDefinition {
    const char* name;
    OptionKind kind;
    std::int64_t initial;
    std::int64_t minimum;
    std::int64_t maximum;
};

/// The longest time in milliseconds that is still a number of interrupt time units (100 ns).
inline constexpr std::int64_t max_timeout_ms = std::numeric_limits<std::int64_t>::max() / 10'000;

inline constexpr std::size_t option_count = 10;

/// In the order in which they are listed.
inline constexpr OptionDefinition option_definitions[option_count] = {
    {"LogLevel", OptionKind::integer, 1, 0, 4},
    {"NewMappingsAllowed", OptionKind::boolean, 1, 0, 1},
    {"EtwLoggingEnabled", OptionKind::boolean, 1, 0, 1},
    {"WppLoggingEnabled", OptionKind::boolean, 0, 0, 1},
    {"DbgPrintEnabled", OptionKind::boolean, 1, 0, 1},
    {"MaxIOReqPerAdapter", OptionKind::integer, WNBD_DEFAULT_MAX_IO_REQ_PER_ADAPTER, 1,
     std::int32_t{WNBD_ABS_MAX_IO_REQ_PER_ADAPTER}},
    {"MaxIOReqPerLun", OptionKind::integer, WNBD_DEFAULT_MAX_IO_REQ_PER_LUN, 1,
     WNBD_ABS_MAX_IO_REQ_PER_LUN},
    {"RemoveStaleConnections", OptionKind::boolean, 1, 0, 1},
    {"StaleReqTimeoutMs", OptionKind::timeout, WNBD_DEFAULT_STALE_REQ_TIMEOUT_MS, 0,
     max_timeout_ms},
    {"StaleConnTimeoutMs", OptionKind::timeout, WNBD_DEFAULT_STALE_CONN_TIMEOUT_MS, 0,
     max_timeout_ms},
};

}  // namespace wnbd
