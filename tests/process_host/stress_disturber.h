// SPDX-License-Identifier: LGPL-2.1-or-later
// What goes wrong during the stress: aborts, resets, removals, and the death of the serving
// process.
#pragma once

#include <cstdint>
#include <memory>
#include <random>

#include "tests/process_host/stress_issuer.h"
#include "tests/process_host/stress_server.h"

namespace wnbd::test {

/// Keeps the disk served, by one process after the other.
class Serving {
  public:
    Serving(StressState& state, unsigned threads) : state_(state), threads_(threads) {}

    static constexpr const char* disk_name = "stress";

    /// Starts the next process and says where its disk is; false if that cannot be done.
    bool next();
    bool kill() { return server_->kill(); }
    void end() { server_.reset(); }
    ServerCounters& counters() { return counters_; }

  private:
    StressState& state_;
    const unsigned threads_;
    ServerCounters counters_;
    std::uint64_t process_id_ = 1000;
    std::unique_ptr<StressServer> server_;
};

/// One thread's; the seed decides what is done, not when.
class Disturber {
  public:
    Disturber(StressState& state, Serving& serving, std::uint64_t seed)
        : state_(state), serving_(serving), random_(seed) {}

    /// One disturbance. False: the run cannot go on.
    bool disturb();
    void print_counts() const;

  private:
    void abort_some();
    [[nodiscard]] bool departure_is_due() const;
    bool replace_disk(bool by_death);

    StressState& state_;
    Serving& serving_;
    std::mt19937_64 random_;
    std::uint64_t succeeded_at_departure_ = 0;
    std::uint64_t departed_100ns_ = 0;

    std::uint64_t aborts_ = 0;
    std::uint64_t unit_resets_ = 0;
    std::uint64_t target_resets_ = 0;
    std::uint64_t bus_resets_ = 0;
    std::uint64_t removals_ = 0;
    std::uint64_t deaths_ = 0;
    std::uint64_t put_off_ = 0;  ///< removals and deaths that came before any I/O had succeeded
};

}  // namespace wnbd::test
