// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/library_log.h"

#include <windows.h>

#include <cstdio>
#include <utility>

#include "client/held_error.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

// The library calls its logger with nothing of the caller's, hence globals.
HeldError& held_error() {
    static HeldError instance;
    return instance;
}

std::string log_line(WnbdLogLevel level, const char* function, const char* message) {
    SYSTEMTIME now{};
    GetLocalTime(&now);
    char time[32];
    std::snprintf(time, sizeof(time), "%02u:%02u:%02u.%03u", now.wHour, now.wMinute, now.wSecond,
                  now.wMilliseconds);
    return std::string(time) + " libwnbd.dll!" + function + " " + WnbdLogLevelToStr(level) + " " +
           message;
}

bool is_error(WnbdLogLevel level) {
    return level <= WnbdLogLevelError;
}

VOID keep_errors(WnbdLogLevel level, const char* message, const char*, UINT32, const char*) {
    if (!is_error(level)) return;
    // Only the last one counts.
    static_cast<void>(held_error().hold({.line = {}, .text = message}));
}

VOID show_all_but_last_error(WnbdLogLevel level, const char* message, const char*, UINT32,
                             const char* function) {
    LogEntry entry{.line = log_line(level, function, message), .text = message};
    const std::string line = entry.line;
    const auto earlier =
        is_error(level) ? held_error().hold(std::move(entry)) : held_error().release();
    if (earlier) print_error(earlier->line);
    if (!is_error(level)) print_error(line);
}

}  // namespace

void use_library_log(LogUse use) {
    static_cast<void>(take_library_error());
    WnbdSetLogLevel(use == LogUse::debug ? WnbdLogLevelDebug : WnbdLogLevelInfo);
    if (use == LogUse::detail) WnbdSetLogger(keep_errors);
    if (use == LogUse::serving) WnbdSetLogger(show_all_but_last_error);
}

std::string take_library_error() {
    const auto held = held_error().release();
    return held ? held->text : std::string{};
}

}  // namespace wnbd::client
