// SPDX-License-Identifier: LGPL-2.1-or-later
// The NBD clients that are measured side by side: each drives the same load on the same server.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"

namespace wnbd::bench {

/// Our backend; requests are resubmitted from their completion.
[[nodiscard]] Measurement measure_ours(const std::string& uri, std::uint64_t size,
                                       const Cell& cell);
/// libnbd's asynchronous calls, one thread around nbd_poll.
[[nodiscard]] Measurement measure_libnbd(const std::string& uri, std::uint64_t size,
                                         const Cell& cell);
/// fio with its nbd engine, as a process of its own.
[[nodiscard]] Measurement measure_fio(const std::string& uri, std::uint64_t size, const Cell& cell);

}  // namespace wnbd::bench
