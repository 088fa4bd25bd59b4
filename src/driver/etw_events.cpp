// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/etw_events.h"

#include "events.h"

namespace wnbd::driver {

namespace {

const EVENT_DESCRIPTOR& event_of(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::error: return events::error_event;
        case LogLevel::warning: return events::warning_event;
        case LogLevel::info: return events::informational_event;
        case LogLevel::debug: break;
    }
    return events::debug_event;
}

}  // namespace

NTSTATUS EtwEvents::open() noexcept {
    return provider_.open(events::wnbd_provider);
}

bool EtwEvents::wants(LogLevel level) const noexcept {
    return provider_.wants(event_of(level));
}

void EtwEvents::write(const LogMessage& message) const noexcept {
    const ULONG line = message.line;
    EVENT_DATA_DESCRIPTOR data[3];
    events::lay_out_log_message(data, message.function, line, message.text);
    provider_.write(event_of(message.level), data);
}

}  // namespace wnbd::driver
