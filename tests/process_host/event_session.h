// SPDX-License-Identifier: LGPL-2.1-or-later
// What the lab's tracing sessions and the debugger got, kept for a test to look at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/etw/self_describing.h"
#include "lab/etw/tracing.h"

namespace wnbd::test {

struct Received {
    std::string session;
    lab::etw::Event event;
    unsigned char irql = 0;  // the writer's
};

/// From here on everything is kept. Any number of times.
void record_events();
/// What came since the last call, of one session.
[[nodiscard]] std::vector<Received> take_events(const std::string& session);
/// The debugger's lines since the last call.
[[nodiscard]] std::vector<std::string> take_debug_lines();

/// The third field of the manifest's events: the message. Empty for what is none of them.
[[nodiscard]] std::string message_of(const lab::etw::Event& event);

/// The text that Windows makes of an event: the file's message `number` with the inserts, or an
/// empty one when the file has no such message.
[[nodiscard]] std::string text_from_file(const std::string& file, std::uint32_t number,
                                         const std::vector<std::string>& inserts);

}  // namespace wnbd::test
