// SPDX-License-Identifier: LGPL-2.1-or-later
// A message on its way to the sinks.
#pragma once

#include "driver/log.h"

namespace wnbd::driver {

/// Formatted; on the writer's stack or in the image, so that it may be written at any IRQL.
struct LogMessage {
    LogLevel level;
    const char* function;
    std::uint32_t line;
    const char* text;
};

}  // namespace wnbd::driver
