// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/library_log.h"

#include <windows.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <utility>

#include "client/held_error.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

struct Scope {
    LogUse use = LogUse::detail;
    HeldError held;
};

// The library calls its logger with nothing of the caller's, hence globals.
struct Scopes {
    std::mutex mutex;
    std::map<DWORD, Scope> of_thread;
};

Scopes& scopes() {
    static Scopes instance;
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

bool any_debug(const Scopes& all) {
    return std::ranges::any_of(all.of_thread,
                               [](const auto& entry) { return entry.second.use == LogUse::debug; });
}

void set_level(const Scopes& all) {
    WnbdSetLogLevel(any_debug(all) ? WnbdLogLevelDebug : WnbdLogLevelInfo);
}

/// Shows all but the last error.
void serve_message(HeldError& held, WnbdLogLevel level, LogEntry&& entry) {
    const std::string line = entry.line;
    const auto earlier = is_error(level) ? held.hold(std::move(entry)) : held.release();
    if (earlier) print_error(earlier->line);
    if (!is_error(level)) print_error(line);
}

VOID on_message(WnbdLogLevel level, const char* message, const char* /*file*/, UINT32 /*line*/,
                const char* function) {
    Scopes& all = scopes();
    const std::lock_guard lock(all.mutex);
    const auto found = all.of_thread.find(GetCurrentThreadId());
    const LogUse use = found == all.of_thread.end() ? LogUse::debug : found->second.use;
    // The level is the process's: one thread's --debug does not show another's details.
    if (level > WnbdLogLevelInfo && use != LogUse::debug) return;
    switch (use) {
        case LogUse::debug: print_error(log_line(level, function, message)); return;
        case LogUse::serving:
            serve_message(found->second.held, level,
                          {.line = log_line(level, function, message), .text = message});
            return;
        case LogUse::detail:
            // Only the last one counts.
            if (is_error(level)) {
                static_cast<void>(found->second.held.hold({.line = {}, .text = message}));
            }
            return;
    }
}

}  // namespace

void use_library_log(LogUse use) {
    Scopes& all = scopes();
    const std::lock_guard lock(all.mutex);
    Scope& scope = all.of_thread[GetCurrentThreadId()];
    scope.use = use;
    static_cast<void>(scope.held.release());
    set_level(all);
    WnbdSetLogger(on_message);
}

std::string take_library_error() {
    Scopes& all = scopes();
    const std::lock_guard lock(all.mutex);
    const auto held = all.of_thread[GetCurrentThreadId()].held.release();
    return held ? held->text : std::string{};
}

void leave_library_log() {
    Scopes& all = scopes();
    const std::lock_guard lock(all.mutex);
    all.of_thread.erase(GetCurrentThreadId());
    set_level(all);
}

}  // namespace wnbd::client
