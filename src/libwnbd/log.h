// SPDX-License-Identifier: LGPL-2.1-or-later
// The library's messages. A level that is off costs one relaxed load: nothing is evaluated.
#pragma once

#include <atomic>
#include <string>

#include "wnbd.h"

namespace wnbd::libwnbd {

/// The level that is set, or -1 while there is no logger.
inline std::atomic<int> log_threshold{WnbdLogLevelWarning};

/// The one test that a message of a level that is off costs.
[[nodiscard]] inline bool log_enabled(WnbdLogLevel level) noexcept {
    return static_cast<int>(level) <= log_threshold.load(std::memory_order_relaxed);
}

/// Formats (printf, UTF-8, cut at WNBD_LOG_MESSAGE_MAX_SIZE) and delivers. Thread-safe.
__attribute__((format(gnu_printf, 5, 6))) void log_message(WnbdLogLevel level, const char* file,
                                                           unsigned line, const char* function,
                                                           const char* format, ...) noexcept;

/// "5 (Access is denied.)", for messages.
[[nodiscard]] std::string error_text(DWORD code);

/// UTF-8 of a Windows string, for messages.
[[nodiscard]] std::string to_utf8(const std::wstring& text);

}  // namespace wnbd::libwnbd

// Macros, because the arguments must not be evaluated when the level is off.
#define WNBD_LOG(level, ...)                                                                     \
    do {                                                                                         \
        if (::wnbd::libwnbd::log_enabled(level))                                                 \
            ::wnbd::libwnbd::log_message(level, __FILE_NAME__, __LINE__, __func__, __VA_ARGS__); \
    } while (false)
#define LOG_ERROR(...) WNBD_LOG(WnbdLogLevelError, __VA_ARGS__)
#define LOG_WARNING(...) WNBD_LOG(WnbdLogLevelWarning, __VA_ARGS__)
#define LOG_INFO(...) WNBD_LOG(WnbdLogLevelInfo, __VA_ARGS__)
#define LOG_DEBUG(...) WNBD_LOG(WnbdLogLevelDebug, __VA_ARGS__)
