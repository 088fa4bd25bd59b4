// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/etw/tracing.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "lab/etw/self_describing.h"

namespace wnbd::lab::etw {
namespace {

constexpr ULONG max_descriptors = 128;
constexpr std::size_t max_event = 64 * 1024;  // bytes; what a session's buffer takes at most

struct Provider {
    GUID guid;
    std::vector<std::uint8_t> traits;
};

struct State {
    std::mutex mutex;
    std::map<REGHANDLE, Provider> providers;
    std::vector<Session> sessions;
    REGHANDLE last = 0x1000;
    Sink sink = nullptr;
};

/// Never destroyed: drivers may still write while the program ends.
State& state() {
    static State* const instance = new State;
    return *instance;
}

bool same(const GUID& left, const GUID& right) {
    return std::memcmp(&left, &right, sizeof left) == 0;
}

bool wants(const Session& session, const GUID& provider, UCHAR level, ULONGLONG keyword) {
    if (!same(session.provider, provider)) return false;
    if (session.level != 0 && level > session.level) return false;
    if (keyword == 0 || session.any == 0) return true;
    return (keyword & session.any) != 0 && (keyword & session.all) == session.all;
}

/// Reads every byte, so that a descriptor that points nowhere shows here.
Event copy_of(const GUID& provider, const EVENT_DESCRIPTOR& descriptor, ULONG count,
              const EVENT_DATA_DESCRIPTOR* data) {
    Event event{provider, descriptor, {}};
    for (ULONG i = 0; i < count; ++i) {
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(data[i].Ptr);
        event.parts.push_back(
            {static_cast<UCHAR>(data[i].Reserved & 0xFF), {bytes, bytes + data[i].Size}});
    }
    return event;
}

std::string fault_of(const Provider& provider, const Event& event) {
    std::size_t total = 0;
    for (const Part& part : event.parts)
        total += part.bytes.size();
    if (total > max_event) return "the event is larger than a session takes";
    if (event.descriptor.Channel != WINEVENT_CHANNEL_TRACELOGGING) {
        const bool plain = std::all_of(
            event.parts.begin(), event.parts.end(),
            [](const Part& part) { return part.type == EVENT_DATA_DESCRIPTOR_TYPE_NONE; });
        return plain ? "" : "metadata in an event that does not describe itself";
    }
    SelfDescribed described;
    std::string fault = describe(event, described);
    if (fault.empty() && !provider.traits.empty() && event.parts[0].bytes != provider.traits)
        fault = "the event's traits are not its provider's";
    return fault;
}

}  // namespace

Session system_log_of(const GUID& provider) {
    return {system_log, provider, 0, system_log_keyword, 0};
}

GUID manifest_provider() {
    return {0xFFACC4E7, 0xC115, 0x4FE2, {0x9D, 0x3C, 0x80, 0xFA, 0xE7, 0x3B, 0xAB, 0x91}};
}

void start_session(const Session& session) {
    stop_session(session.name);
    const std::lock_guard guard(state().mutex);
    state().sessions.push_back(session);
}

bool stop_session(const std::string& name) {
    const std::lock_guard guard(state().mutex);
    return std::erase_if(state().sessions,
                         [&](const Session& session) { return session.name == name; }) != 0;
}

void set_sink(Sink sink) {
    const std::lock_guard guard(state().mutex);
    state().sink = sink;
}

REGHANDLE register_provider(const GUID& guid) {
    const std::lock_guard guard(state().mutex);
    const REGHANDLE handle = ++state().last;
    state().providers[handle] = {guid, {}};
    return handle;
}

bool unregister_provider(REGHANDLE handle) {
    const std::lock_guard guard(state().mutex);
    return state().providers.erase(handle) != 0;
}

bool is_registered(REGHANDLE handle) {
    const std::lock_guard guard(state().mutex);
    return state().providers.contains(handle);
}

std::vector<REGHANDLE> registrations() {
    const std::lock_guard guard(state().mutex);
    std::vector<REGHANDLE> handles;
    for (const auto& [handle, provider] : state().providers)
        handles.push_back(handle);
    return handles;
}

bool set_traits(REGHANDLE handle, const void* traits, std::size_t bytes) {
    const auto* const first = static_cast<const std::uint8_t*>(traits);
    std::vector<std::uint8_t> copy(first, first + bytes);
    std::string name;
    if (!provider_name(copy, name)) return false;
    const std::lock_guard guard(state().mutex);
    const auto found = state().providers.find(handle);
    if (found == state().providers.end()) return false;
    found->second.traits = std::move(copy);
    return true;
}

bool is_enabled(REGHANDLE handle, UCHAR level, ULONGLONG keyword) {
    const std::lock_guard guard(state().mutex);
    const auto found = state().providers.find(handle);
    if (found == state().providers.end()) return false;
    return std::any_of(
        state().sessions.begin(), state().sessions.end(),
        [&](const Session& session) { return wants(session, found->second.guid, level, keyword); });
}

std::string write(REGHANDLE handle, const EVENT_DESCRIPTOR& descriptor, ULONG count,
                  const EVENT_DATA_DESCRIPTOR* data) {
    if (count > max_descriptors) return "more data descriptors than an event may have";
    const std::lock_guard guard(state().mutex);
    const auto found = state().providers.find(handle);
    if (found == state().providers.end()) return "an event of a provider that is not registered";
    const Event event = copy_of(found->second.guid, descriptor, count, data);
    for (const Session& session : state().sessions) {
        const bool wanted = wants(session, event.provider, descriptor.Level, descriptor.Keyword);
        if (wanted && state().sink != nullptr) state().sink(session, event);
    }
    return fault_of(found->second, event);
}

}  // namespace wnbd::lab::etw
