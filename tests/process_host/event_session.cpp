// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/event_session.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"

namespace wnbd::test {
namespace {

namespace kernel = lab::kernel;

std::mutex& mutex() {
    static std::mutex instance;
    return instance;
}
std::vector<Received>& received() {
    static std::vector<Received> instance;
    return instance;
}
std::vector<std::string>& lines() {
    static std::vector<std::string> instance;
    return instance;
}

void keep_event(const lab::etw::Session& session, const lab::etw::Event& event) {
    const std::lock_guard guard(mutex());
    received().push_back({session.name, event, kernel::this_thread().irql});
}

void keep_line(const char* text) {
    const std::lock_guard guard(mutex());
    lines().emplace_back(text);
}

}  // namespace

void record_events() {
    lab::etw::set_sink(keep_event);
    kernel::set_debug_sink(keep_line);
}

std::vector<Received> take_events(const std::string& session) {
    const std::lock_guard guard(mutex());
    std::vector<Received> mine;
    std::vector<Received> others;
    for (Received& each : received())
        (each.session == session ? mine : others).push_back(std::move(each));
    received() = std::move(others);
    return mine;
}

std::vector<std::string> take_debug_lines() {
    const std::lock_guard guard(mutex());
    return std::exchange(lines(), {});
}

std::string message_of(const lab::etw::Event& event) {
    if (event.parts.size() != 3 || event.parts[1].bytes.size() != sizeof(ULONG)) return {};
    for (const std::size_t text : {0, 2}) {
        const auto& bytes = event.parts[text].bytes;
        // One terminator, at the end.
        if (std::find(bytes.begin(), bytes.end(), 0) + 1 != bytes.end()) return {};
    }
    return reinterpret_cast<const char*>(event.parts[2].bytes.data());
}

}  // namespace wnbd::test
