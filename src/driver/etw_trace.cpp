// SPDX-License-Identifier: LGPL-2.1-or-later
// The format: [TraceLoggingProvider.h]'s "ETW events with embedded schema". An event begins with
// two blobs, the provider's traits and the event's metadata; the fields follow as in any event.
#include "driver/etw_trace.h"

namespace wnbd::driver {

namespace {

constexpr GUID trace_guid = {
    0xE35EAF83, 0x0F07, 0x418A, {0x90, 0x7C, 0x14, 0x1C, 0xD2, 0x00, 0xF2, 0x52}};

/// The flag of the first implementation's traces, for the sessions that people have scripts for.
constexpr ULONGLONG all_messages = 0x1;

// Types of fields. The highest bit says that an output type follows.
constexpr UCHAR in_ansi_string = 2;
constexpr UCHAR in_uint32 = 8;
constexpr UCHAR has_out_type = 0x80;
constexpr UCHAR out_utf8 = 35;

struct [[gnu::packed]] ProviderTraits {
    USHORT size = sizeof(ProviderTraits);
    char name[sizeof "WNBD.Trace"] = "WNBD.Trace";
};

struct [[gnu::packed]] EventMetadata {
    USHORT size = sizeof(EventMetadata);
    UCHAR tags = 0;
    char name[sizeof "Message"] = "Message";
    char function[sizeof "FunctionName"] = "FunctionName";
    UCHAR function_types[2] = {in_ansi_string | has_out_type, out_utf8};
    char line[sizeof "LineNumber"] = "LineNumber";
    UCHAR line_type = in_uint32;
    char message[sizeof "Message"] = "Message";
    UCHAR message_types[2] = {in_ansi_string | has_out_type, out_utf8};
};
static_assert(sizeof(EventMetadata) == 48);

constexpr ProviderTraits traits;
constexpr EventMetadata metadata;

EVENT_DESCRIPTOR event_of(LogLevel level) noexcept {
    EVENT_DESCRIPTOR event{};
    event.Channel = WINEVENT_CHANNEL_TRACELOGGING;
    event.Keyword = all_messages;
    switch (level) {
        case LogLevel::error: event.Level = 2; break;
        case LogLevel::warning: event.Level = 3; break;
        case LogLevel::info: event.Level = 4; break;
        case LogLevel::debug: event.Level = 5; break;
    }
    return event;
}

}  // namespace

// Without its traits the provider still works: each event bears them too.
NTSTATUS EtwTrace::open() noexcept {
    const NTSTATUS status = provider_.open(trace_guid);
    return NT_SUCCESS(status) ? provider_.set_traits(&traits, sizeof traits) : status;
}

bool EtwTrace::wants(LogLevel level) const noexcept {
    return provider_.wants(event_of(level));
}

void EtwTrace::write(const LogMessage& message) const noexcept {
    const ULONG line = message.line;
    EVENT_DATA_DESCRIPTOR data[] = {
        bytes_data(&traits, sizeof traits, EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA),
        bytes_data(&metadata, sizeof metadata, EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA),
        text_data(message.function),
        value_data(line),
        text_data(message.text),
    };
    provider_.write(event_of(message.level), data);
}

}  // namespace wnbd::driver
