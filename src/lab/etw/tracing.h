// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's Event Tracing for Windows. Drivers register providers and write events; sessions say
// which events of which provider they want; what a session gets is handed to a sink. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "driver/ddk/etw.h"

namespace wnbd::lab::etw {

/// One data descriptor's bytes and type.
struct Part {
    UCHAR type = EVENT_DATA_DESCRIPTOR_TYPE_NONE;
    std::vector<std::uint8_t> bytes;
};

struct Event {
    GUID provider{};
    EVENT_DESCRIPTOR descriptor{};
    std::vector<Part> parts;
};

/// A session wants a provider's events up to a level (0: all) whose keyword is 0, or has one of
/// `any` (0: whatever keyword) and all of `all`.
struct Session {
    std::string name;
    GUID provider{};
    UCHAR level = 0;
    ULONGLONG any = 0;
    ULONGLONG all = 0;
};

/// What the System log's own session asks for: events that bear the first channel's keyword. On
/// Windows there is one since `wevtutil im`; the lab's hosts start it by themselves.
inline constexpr ULONGLONG system_log_keyword = 0x8000000000000000;
inline constexpr char system_log[] = "System";
[[nodiscard]] Session system_log_of(const GUID& provider);
/// {FFACC4E7-C115-4FE2-9D3C-80FAE73BAB91}, the provider that WNBD's manifest declares.
[[nodiscard]] GUID manifest_provider();

/// A session of the same name is replaced.
void start_session(const Session& session);
/// False when there is none of that name.
bool stop_session(const std::string& name);

/// Called with each event that a session gets, in the writer's thread at its IRQL, one at a time.
using Sink = void (*)(const Session& session, const Event& event);
void set_sink(Sink sink);

/// A handle that was never given before.
[[nodiscard]] REGHANDLE register_provider(const GUID& guid);
/// False for what is not registered.
bool unregister_provider(REGHANDLE handle);
[[nodiscard]] bool is_registered(REGHANDLE handle);
/// Those that are left.
[[nodiscard]] std::vector<REGHANDLE> registrations();

/// What the provider says of itself; each event's own copy must be the same. False when the bytes
/// are no traits.
bool set_traits(REGHANDLE handle, const void* traits, std::size_t bytes);
/// Whether a session wants such an event of the provider.
[[nodiscard]] bool is_enabled(REGHANDLE handle, UCHAR level, ULONGLONG keyword);
/// Hands the event to each session that wants it. Gives what is wrong with it, or an empty text.
[[nodiscard]] std::string write(REGHANDLE handle, const EVENT_DESCRIPTOR& descriptor, ULONG count,
                                const EVENT_DATA_DESCRIPTOR* data);

}  // namespace wnbd::lab::etw
