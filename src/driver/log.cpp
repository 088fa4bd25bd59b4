// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/log.h"

#include <cstdarg>

#include "driver/driver.h"

namespace wnbd::driver {

namespace {

constexpr std::size_t max_message = 512;  // bytes, terminator included

struct Message {
    LogLevel level;
    const char* function;
    int line;
    const char* text;
};

/// To the kernel debugger, under the debug filter of SCSI miniports.
void print_to_debugger(const Message& message) noexcept {
    DbgPrintEx(DPFLTR_SCSIMINIPORT_ID, static_cast<ULONG>(message.level), "%s:%d %s\n",
               message.function, message.line, message.text);
}

}  // namespace

bool log_enabled(LogLevel level) noexcept {
    const engine::Options& options = driver().options;
    return static_cast<std::int64_t>(level) <= options.value(engine::OptionId::log_level) &&
           options.enabled(engine::OptionId::dbg_print_enabled);
}

void log_message(LogLevel level, const char* function, int line, const char* format, ...) noexcept {
    char text[max_message];
    va_list arguments;
    va_start(arguments, format);
    (void)_vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    text[sizeof text - 1] = '\0';  // _vsnprintf leaves a text that fills the buffer open
    print_to_debugger({level, function, line, text});
}

}  // namespace wnbd::driver
