// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's log. A message has a level; the option LogLevel decides whether anything happens at
// all, then each sink's own option, and for tracing whether a session wants it. A message is
// formatted once, and only if a sink takes it.
#pragma once

#include <cstdint>

#include "driver/driver.h"

namespace wnbd::driver {

/// The numbers of the option LogLevel, and of DbgPrintEx.
enum class LogLevel : std::uint8_t { error = 0, warning = 1, info = 3, debug = 4 };

/// The one test that a message of a disabled level costs. Any IRQL.
[[nodiscard]] inline bool log_level_enabled(LogLevel level) noexcept {
    return static_cast<std::int64_t>(level) <= driver().options.value(engine::OptionId::log_level);
}

/// How the tracing sinks could be registered.
struct LogOpening {
    NTSTATUS events;  ///< the System log's
    NTSTATUS trace;   ///< the self-describing trace's
};
/// Registers the tracing sinks; without one of them the others go on. PASSIVE_LEVEL.
[[nodiscard]] LogOpening open_log() noexcept;
/// Logs what could not be registered, once the driver's options are there.
void tell_faults(const LogOpening& opening) noexcept;
/// Nothing is logged afterwards. PASSIVE_LEVEL.
void close_log() noexcept;

/// Call it through WNBD_LOG. Up to DISPATCH_LEVEL, with no spin lock held. A text longer than 511
/// bytes is cut; bytes that would end a line or work a terminal become question marks. No wide
/// strings in the format: the kernel converts those at PASSIVE_LEVEL only.
[[gnu::format(printf, 4, 5), gnu::cold]] void log_message(LogLevel level, const char* function,
                                                          unsigned line, const char* format,
                                                          ...) noexcept;

}  // namespace wnbd::driver

/// A disabled level costs the test: its arguments are not evaluated.
#define WNBD_LOG(level, ...)                                                                 \
    do {                                                                                     \
        if (::wnbd::driver::log_level_enabled(::wnbd::driver::LogLevel::level))              \
            ::wnbd::driver::log_message(::wnbd::driver::LogLevel::level, __func__, __LINE__, \
                                        __VA_ARGS__);                                        \
    } while (false)
