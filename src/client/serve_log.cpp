// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/serve_log.h"

#include <chrono>
#include <cstdio>
#include <ctime>

#include "client/output.h"

namespace wnbd::client {
namespace {

const char* name_of(iscsi::Log::Level level) noexcept {
    switch (level) {
        case iscsi::Log::Level::error: return "ERROR";
        case iscsi::Log::Level::warning: return "WARNING";
        case iscsi::Log::Level::info: return "INFO";
        case iscsi::Log::Level::debug: break;
    }
    return "DEBUG";
}

/// The time of day, as in the library's log.
std::string time_text() {
    using std::chrono::system_clock;
    const auto now = system_clock::now();
    const std::time_t seconds = system_clock::to_time_t(now);
    std::tm parts{};
#if defined(_WIN32)
    localtime_s(&parts, &seconds);
#else
    localtime_r(&seconds, &parts);
#endif
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
    char text[32];
    std::snprintf(text, sizeof(text), "%02d:%02d:%02d.%03d", parts.tm_hour, parts.tm_min,
                  parts.tm_sec, static_cast<int>(ms.count() % 1000));
    return text;
}

}  // namespace

void ServeLog::write(Level level, const std::string& line) noexcept {
    if (level == Level::debug && !debug_) return;
    try {
        if (message_format() == OutputFormat::json) {
            write_error_line(json_line(
                {{"Time", time_text()}, {"Level", std::string(name_of(level))}, {"Note", line}}));
        } else {
            write_error_line(time_text() + " iscsi " + name_of(level) + " " + line);
        }
        // NOLINTNEXTLINE(bugprone-empty-catch)
    } catch (const std::bad_alloc&) {
        // A line of the log is nothing to end for.
    }
}

}  // namespace wnbd::client
