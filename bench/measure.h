// SPDX-License-Identifier: LGPL-2.1-or-later
// What the benchmarks that load a disk have in common: a cell of the table, its figures, its
// offsets, and clocks.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

namespace wnbd::bench {

struct Cell {
    bool write = false;          // else reads
    std::uint32_t block = 4096;  // bytes of a request
    unsigned depth = 1;          // requests in flight on a connection
    double seconds = 1;          // of load
};

struct Measurement {
    std::uint64_t requests = 0;
    double seconds = 0;             // that they took
    double cpu_seconds = 0;         // user and system, of the client alone
    std::string failure{};          // empty when it went well
    double server_cpu_seconds = 0;  // of the server's process, where it is measured

    [[nodiscard]] double iops() const { return seconds > 0 ? double(requests) / seconds : 0; }
    [[nodiscard]] double cpu_us_per_request() const { return per_request(cpu_seconds); }
    [[nodiscard]] double server_cpu_us_per_request() const {
        return per_request(server_cpu_seconds);
    }

  private:
    [[nodiscard]] double per_request(double cpu) const {
        return requests > 0 ? cpu * 1e6 / double(requests) : 0;
    }
};

[[nodiscard]] inline double ratio(double over, double under) {
    return under > 0 ? over / under : 0;
}

/// User and system time of this process so far, in seconds.
[[nodiscard]] inline double cpu_now() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return double(time.tv_sec) + double(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// CPU time of another process with all its threads, in seconds: exact, not in ticks.
[[nodiscard]] inline double cpu_of(int process) {
    clockid_t clock{};
    timespec time{};
    if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
        throw std::runtime_error("the server's CPU time cannot be read: has it ended?");
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

/// 0 of nothing.
[[nodiscard]] inline double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::ranges::sort(values);
    const auto middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

[[nodiscard]] inline double since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Random offsets, the same sequence for every client (xorshift64), or one after the other.
class Offsets {
  public:
    /// One of `many` that share the work: with `streaming` they take turns.
    Offsets(std::uint64_t size, std::uint32_t block, bool streaming = false, unsigned index = 0,
            unsigned many = 1)
        : state_(streaming ? index : 0x9e3779b97f4a7c15 * (2 * std::uint64_t{index} + 1)),
          block_(block),
          count_(size / block),
          stride_(streaming ? many : 0) {}
    std::uint64_t next() {
        if (stride_ != 0) {
            const auto block = state_ % count_;
            state_ += stride_;
            return block * block_;
        }
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_ % count_ * block_;
    }

  private:
    std::uint64_t state_;
    std::uint64_t block_;
    std::uint64_t count_;
    std::uint64_t stride_;
};

}  // namespace wnbd::bench
