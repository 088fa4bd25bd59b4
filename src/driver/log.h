// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's log. A message has a level; the options LogLevel and DbgPrintEnabled decide whether
// it is formatted at all. log.cpp formats once and hands the text to the sinks.
#pragma once

#include <cstdint>

namespace wnbd::driver {

/// The numbers of the option LogLevel, and of DbgPrintEx.
enum class LogLevel : std::uint8_t { error = 0, warning = 1, info = 3, debug = 4 };

/// Whether anybody would see a message of this level. One test, any IRQL up to DISPATCH_LEVEL.
[[nodiscard]] bool log_enabled(LogLevel level) noexcept;

/// Call it through WNBD_LOG. Up to DISPATCH_LEVEL, with no spin lock held; longer texts are cut.
[[gnu::format(printf, 4, 5)]] void log_message(LogLevel level, const char* function, int line,
                                               const char* format, ...) noexcept;

}  // namespace wnbd::driver

/// A disabled level costs the test: its arguments are not evaluated.
#define WNBD_LOG(level, ...)                                                                 \
    do {                                                                                     \
        if (::wnbd::driver::log_enabled(::wnbd::driver::LogLevel::level))                    \
            ::wnbd::driver::log_message(::wnbd::driver::LogLevel::level, __func__, __LINE__, \
                                        __VA_ARGS__);                                        \
    } while (false)
