// SPDX-License-Identifier: LGPL-2.1-or-later
// A handshake driven over a stream.
#pragma once

#include <atomic>
#include <chrono>

#include "nbd/fault.h"
#include "nbd/handshake.h"
#include "nbd/stream.h"

namespace wnbd::nbd {

/// What a negotiation may use, and for how long.
struct NegotiationLimits {
    std::chrono::steady_clock::time_point deadline{};
    std::chrono::milliseconds time_max{10'000};    // what the deadline came from, for messages
    const std::atomic<bool>* abandoned = nullptr;  // ends it soon with FaultCode::closed
};

/// Blocks until the handshake is done, or wants_tls(); the code is none then. Not a byte beyond it
/// is received: what a server sends without being asked is left for the transmission phase to find.
/// An abort that the handshake still has to say is sent if that needs no waiting.
[[nodiscard]] Fault negotiate(Stream& stream, Handshake& handshake,
                              const NegotiationLimits& limits);

}  // namespace wnbd::nbd
