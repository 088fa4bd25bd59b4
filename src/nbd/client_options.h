// SPDX-License-Identifier: LGPL-2.1-or-later
// How a client connects, and what it does about losses.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "nbd/export_info.h"
#include "nbd/recovery.h"
#include "nbd/tls.h"
#include "nbd/uri.h"

namespace wnbd::nbd {

struct ClientOptions {
    std::vector<Address> addresses{};  // of one export, at least one; the first that answers serves
    TlsSettings tls{};
    unsigned connections = 0;                            // at most; 0: default_connections()
    std::uint32_t commands_max = 256;                    // in flight on each
    ReconnectPolicy reconnect{};                         // a time-out of 0: a loss is the end
    std::chrono::milliseconds request_time_max{30'000};  // 0: for ever
    std::chrono::milliseconds keep_alive{15'000};        // 0: never
    bool write_through = false;
    // Extensions of the protocol that are asked for.
    bool structured_replies = true;
    bool extended_headers = true;
    bool block_status = true;
    /// Skips the negotiation: the server must be in transmission at once, and this is what it
    /// serves. No TLS then.
    std::optional<ExportInfo> skip_handshake{};
    std::chrono::milliseconds connect_time_max{10'000};    // of each attempt
    std::chrono::milliseconds handshake_time_max{10'000};  // TLS included
    /// How long close() waits for requests in flight before it cuts.
    std::chrono::milliseconds close_time_max{10'000};
};

/// Half of the processors, 1 to 4.
[[nodiscard]] unsigned default_connections() noexcept;

}  // namespace wnbd::nbd
