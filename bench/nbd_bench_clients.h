// SPDX-License-Identifier: LGPL-2.1-or-later
// The NBD clients that are measured side by side: each drives the same load on the same server.
#pragma once

#include <cstdint>
#include <string>

namespace wnbd::bench {

struct Cell {
    bool write = false;          // random writes, else random reads
    std::uint32_t block = 4096;  // bytes of a request
    unsigned depth = 1;          // requests in flight
    double seconds = 1;          // of load
};

struct Measurement {
    std::uint64_t requests = 0;
    double seconds = 0;      // that they took
    double cpu_seconds = 0;  // user and system, of the client alone
    std::string failure{};   // empty when it went well

    [[nodiscard]] double iops() const { return seconds > 0 ? double(requests) / seconds : 0; }
    [[nodiscard]] double cpu_us_per_request() const {
        return requests > 0 ? cpu_seconds * 1e6 / double(requests) : 0;
    }
};

/// Our backend; requests are resubmitted from their completion.
[[nodiscard]] Measurement measure_ours(const std::string& uri, std::uint64_t size,
                                       const Cell& cell);
/// libnbd's asynchronous calls, one thread around nbd_poll.
[[nodiscard]] Measurement measure_libnbd(const std::string& uri, std::uint64_t size,
                                         const Cell& cell);
/// fio with its nbd engine, as a process of its own.
[[nodiscard]] Measurement measure_fio(const std::string& uri, std::uint64_t size, const Cell& cell);

}  // namespace wnbd::bench
