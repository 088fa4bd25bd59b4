// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/log.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace wnbd::libwnbd {

namespace {

VOID log_to_stderr(WnbdLogLevel level, const char* message, const char*, UINT32,
                   const char* function) {
    SYSTEMTIME now{};
    GetLocalTime(&now);
    char line[WNBD_LOG_MESSAGE_MAX_SIZE + 256];
    const int length = std::snprintf(
        line, sizeof(line), "%02u:%02u:%02u.%03u libwnbd.dll!%s %s %s\n", now.wHour, now.wMinute,
        now.wSecond, now.wMilliseconds, function, WnbdLogLevelToStr(level), message);
    if (length <= 0) return;
    const auto written = std::min<std::size_t>(static_cast<std::size_t>(length), sizeof(line) - 1);
    line[written - 1] = '\n';  // also of a line that was cut
    // One write, so that lines of several threads do not mix.
    std::fwrite(line, 1, written, stderr);
    std::fflush(stderr);
}

std::atomic<LogMessageFunc> logger{&log_to_stderr};

// Guards setting: the threshold is made of both values. Needs no run-time initialisation.
SRWLOCK settings_lock = SRWLOCK_INIT;
int level_max = WnbdLogLevelWarning;

template <typename Change>
void change_settings(Change change) noexcept {
    AcquireSRWLockExclusive(&settings_lock);
    change();
    log_threshold.store(logger.load() != nullptr ? level_max : -1, std::memory_order_relaxed);
    ReleaseSRWLockExclusive(&settings_lock);
}

}  // namespace

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
    using namespace wnbd::libwnbd;
    change_settings([Logger] { logger.store(Logger, std::memory_order_release); });
}

VOID WnbdSetLogLevel(WnbdLogLevel LogLevel) {
    using namespace wnbd::libwnbd;
    change_settings([LogLevel] { level_max = static_cast<int>(LogLevel); });
}

}  // extern "C"
