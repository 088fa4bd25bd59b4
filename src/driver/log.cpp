// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/log.h"

#include <cstdarg>

#include "driver/etw_events.h"
#include "driver/etw_trace.h"
#include "driver/log_message.h"

namespace wnbd::driver {

namespace {

constexpr std::size_t max_message = 512;  // bytes, terminator included

// Opened before anything is logged and closed after: read only in between.
constinit EtwEvents etw_events;
constinit EtwTrace etw_trace;

/// To the kernel debugger, under the debug filter of SCSI miniports.
void print_to_debugger(const LogMessage& message) noexcept {
    DbgPrintEx(DPFLTR_SCSIMINIPORT_ID, static_cast<ULONG>(message.level), "%s:%lu %s\n",
               message.function, static_cast<ULONG>(message.line), message.text);
}

struct Wanted {
    bool debugger;
    bool events;
    bool trace;
    [[nodiscard]] bool any() const noexcept { return debugger || events || trace; }
};

Wanted wanted(LogLevel level) noexcept {
    const engine::Options& options = driver().options;
    return {
        options.enabled(engine::OptionId::dbg_print_enabled),
        options.enabled(engine::OptionId::etw_logging_enabled) && etw_events.wants(level),
        options.enabled(engine::OptionId::wpp_logging_enabled) && etw_trace.wants(level),
    };
}

/// What user space named itself is in some messages: it shall not be able to forge a line.
void make_printable(char* text) noexcept {
    for (; *text != '\0'; ++text)
        if (static_cast<unsigned char>(*text) < ' ' || *text == '\x7F') *text = '?';
}

}  // namespace

LogOpening open_log() noexcept {
    return {etw_events.open(), etw_trace.open()};
}

void tell_faults(const LogOpening& opening) noexcept {
    if (!NT_SUCCESS(opening.events))
        WNBD_LOG(warning, "nothing goes to the System log: EtwRegister: 0x%lx",
                 static_cast<unsigned long>(opening.events));
    if (!NT_SUCCESS(opening.trace))
        WNBD_LOG(warning, "the trace provider is not complete: 0x%lx",
                 static_cast<unsigned long>(opening.trace));
}

void close_log() noexcept {
    etw_trace.close();
    etw_events.close();
}

void log_message(LogLevel level, const char* function, unsigned line, const char* format,
                 ...) noexcept {
    const Wanted sinks = wanted(level);
    if (!sinks.any()) return;
    char text[max_message];
    va_list arguments;
    va_start(arguments, format);
    (void)_vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    text[sizeof text - 1] = '\0';  // _vsnprintf leaves a text that fills the buffer open
    make_printable(text);
    const LogMessage message{level, function, line, text};
    if (sinks.debugger) print_to_debugger(message);
    if (sinks.events) etw_events.write(message);
    if (sinks.trace) etw_trace.write(message);
}

}  // namespace wnbd::driver
