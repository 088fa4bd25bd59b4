// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/negotiation.h"

#include <algorithm>
#include <array>

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;
using Status = IoResult::Status;

/// How often it is looked whether somebody still waits for the result.
constexpr milliseconds abandon_poll{50};

/// Sends what the negotiation has to say. Not ok: no room, or a failure.
IoResult send_output(Stream& stream, Handshake& handshake) {
    while (!handshake.output().empty()) {
        const auto output = handshake.output();
        // The slice is only read: one slice type serves both directions.
        const IoSlice slice{const_cast<std::uint8_t*>(output.data()), output.size()};
        const auto sent = stream.send({&slice, 1});
        if (sent.status != Status::ok) return sent;
        handshake.sent(sent.bytes);
    }
    return {};
}

}  // namespace

Fault negotiate(Stream& stream, Handshake& handshake, const NegotiationLimits& limits) {
    while (!handshake.done() && !handshake.failed()) {
        const auto sent = send_output(stream, handshake);
        const bool no_room = sent.status == Status::would_block;
        if (sent.status != Status::ok && !no_room) return stream.failure_of(sent, handshake.step());
        if (!no_room && handshake.wants_tls()) return {};
        const auto left = std::chrono::duration_cast<milliseconds>(
            limits.deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0)
            return {.code = FaultCode::timed_out,
                    .expected = static_cast<std::uint64_t>(limits.time_max.count()),
                    .step = handshake.step()};
        if (limits.abandoned != nullptr && *limits.abandoned) return {.code = FaultCode::closed};
        const auto ready = stream.wait({.room = no_room, .time_max = std::min(left, abandon_poll)});
        if (!ready.readable || handshake.needed() == 0) continue;
        std::array<std::uint8_t, 512> bytes;
        const IoSlice slice{bytes.data(), std::min(bytes.size(), handshake.needed())};
        const auto got = stream.receive({&slice, 1});
        if (got.status == Status::would_block) continue;
        if (got.status == Status::closed) return handshake.hang_up();
        if (got.status == Status::failed) return stream.failure_of(got, handshake.step());
        handshake.receive(std::span(bytes).first(got.bytes));
    }
    (void)send_output(stream, handshake);
    return handshake.fault();
}

}  // namespace wnbd::nbd
