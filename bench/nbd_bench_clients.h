// SPDX-License-Identifier: LGPL-2.1-or-later
// The NBD clients that are measured side by side: each drives the same load on the same server.
#pragma once

#include <cstdint>
#include <string>

#include "bench/measure.h"

namespace wnbd::bench {

/// Requests of so many bytes go one after the other, smaller ones at random.
inline constexpr std::uint32_t streaming_block = 256U << 10;

/// What a client is to do. `cell.depth` is the number of requests in flight over all connections.
struct NbdLoad {
    std::string uri{};       // understood by every client
    std::uint64_t size = 0;  // of the export, bytes
    unsigned connections = 1;
    Cell cell{};
};

/// Our backend; requests are resubmitted from their completion.
[[nodiscard]] Measurement measure_ours(const NbdLoad& load);
/// libnbd's asynchronous calls, pipelined: one thread that polls all connections.
[[nodiscard]] Measurement measure_libnbd(const NbdLoad& load);
/// Writes every byte of the export once: reads of a sparse server are not the same work. Returns
/// what went wrong.
[[nodiscard]] std::string fill(const std::string& uri, std::uint64_t size);

// Programs of their own; their CPU time includes their start.

/// fio with its nbd engine.
[[nodiscard]] Measurement measure_fio(const NbdLoad& load);
/// qemu-img bench: requests one after the other, of `expected_iops` for about the cell's time.
[[nodiscard]] Measurement measure_qemu_img(const NbdLoad& load, double expected_iops);
/// nbdcopy to or from nothing: one pass over the export.
[[nodiscard]] Measurement measure_nbdcopy(const NbdLoad& load);

}  // namespace wnbd::bench
