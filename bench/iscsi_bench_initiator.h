// SPDX-License-Identifier: LGPL-2.1-or-later
// The initiator that every iSCSI target is measured with.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"

namespace wnbd::bench {

enum class Order : std::uint8_t { random, sequential };

/// What is under way: `cell.depth` commands on each of `sessions` sessions.
struct IscsiLoad {
    Cell cell;
    Order order = Order::random;
    unsigned sessions = 1;
};

/// Logs in to `url` (iscsi://HOST:PORT/IQN/LUN), keeps READ(16) or WRITE(16) commands under way for
/// `cell.seconds`, and logs out. libiscsi's asynchronous calls, one thread around poll a session,
/// data straight from and to the requests' own buffers. Neither login nor logout is in the figures;
/// a command that ends without GOOD makes a failure.
/// `server` is the target's process; its CPU time is taken at the same moments as ours.
[[nodiscard]] Measurement measure_initiator(const std::string& url, int server,
                                            const IscsiLoad& load);

/// Writes the whole disk once: a sparse target does less.
[[nodiscard]] std::string fill_disk(const std::string& url);

}  // namespace wnbd::bench
