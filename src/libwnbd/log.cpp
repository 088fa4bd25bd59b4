// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/log.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>

namespace wnbd::libwnbd {

namespace {

VOID log_to_stderr(WnbdLogLevel level, const char* message, const char*, UINT32,
                   const char* function) {
    SYSTEMTIME now{};
    GetLocalTime(&now);
    // One call, so that lines of several threads do not mix.
    std::fprintf(stderr, "%02u:%02u:%02u.%03u libwnbd.dll!%s %s %s\n", now.wHour, now.wMinute,
                 now.wSecond, now.wMilliseconds, function, WnbdLogLevelToStr(level), message);
    std::fflush(stderr);
}

// Two values that do not depend on each other: atomics suffice.
std::atomic<LogMessageFunc> logger{&log_to_stderr};
std::atomic<int> level_max{WnbdLogLevelWarning};

}  // namespace

bool log_enabled(WnbdLogLevel level) noexcept {
    return static_cast<int>(level) <= level_max.load(std::memory_order_relaxed) &&
           logger.load(std::memory_order_relaxed) != nullptr;
}

void log_message(WnbdLogLevel level, const char* file, unsigned line, const char* function,
                 const char* format, ...) noexcept {
    const LogMessageFunc deliver = logger.load(std::memory_order_acquire);
    if (deliver == nullptr) return;
    // Log calls keep the caller's error code.
    const DWORD error = GetLastError();
    char message[WNBD_LOG_MESSAGE_MAX_SIZE];
    va_list arguments;
    va_start(arguments, format);
    if (std::vsnprintf(message, sizeof(message), format, arguments) < 0) message[0] = '\0';
    va_end(arguments);
    deliver(level, message, file, line, function);
    SetLastError(error);
}

std::string to_utf8(const std::wstring& text) {
    const int units = static_cast<int>(text.size());
    const int bytes =
        WideCharToMultiByte(CP_UTF8, 0, text.data(), units, nullptr, 0, nullptr, nullptr);
    std::string converted(static_cast<std::size_t>(bytes), '\0');
    WideCharToMultiByte(CP_UTF8, 0, text.data(), units, converted.data(), bytes, nullptr, nullptr);
    return converted;
}

std::string error_text(DWORD code) {
    wchar_t text[512];
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS,
                                  nullptr, code, 0, text, 512, nullptr);
    while (length > 0 && text[length - 1] <= L' ')
        --length;
    std::string result = std::to_string(code);
    if (length > 0) result += " (" + to_utf8(std::wstring(text, length)) + ")";
    return result;
}

}  // namespace wnbd::libwnbd

extern "C" {

VOID WnbdSetLogger(LogMessageFunc Logger) {
    wnbd::libwnbd::logger.store(Logger, std::memory_order_release);
}

VOID WnbdSetLogLevel(WnbdLogLevel LogLevel) {
    wnbd::libwnbd::level_max.store(static_cast<int>(LogLevel), std::memory_order_relaxed);
}

}  // extern "C"
