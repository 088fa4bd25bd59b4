// SPDX-License-Identifier: LGPL-2.1-or-later
// The initiator's side of the stress: threads that keep a number of random reads and writes in
// flight and check what comes back against the ledger.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "tests/process_host/lab.h"
#include "tests/process_host/stamped_store.h"

namespace wnbd::test {

/// Shared by all issuers of a run.
struct StressState {
    Lab& lab;
    StampedStore& store;
    BlockLedger& ledger;
    /// Where the disk is now: each one that follows gets a target of the driver's choice.
    std::atomic<std::uint8_t> target{0};
    [[nodiscard]] lab::Address address() const { return {0, target.load(), 0}; }
    std::atomic<std::uint64_t> wanted{0};  ///< successful I/Os to do
    std::atomic<std::uint64_t> succeeded{0};
    std::atomic<std::uint64_t> submitted{0};
    std::atomic<std::uint64_t> completed{0};
    std::atomic<std::uint64_t> given_up{0};    ///< completed by a reset, an abort, a removal
    std::atomic<std::uint64_t> absent{0};      ///< refused because there was no disk
    std::atomic<std::uint64_t> wrong{0};       ///< blocks with content they must not have
    std::atomic<std::uint64_t> unexpected{0};  ///< results that nothing explains
    std::atomic<bool> stop{false};
};

class StressIssuer {
  public:
    StressIssuer(StressState& state, unsigned depth, std::uint64_t seed);
    ~StressIssuer();
    StressIssuer(const StressIssuer&) = delete;
    StressIssuer& operator=(const StressIssuer&) = delete;

    /// Starts the thread, which ends when enough I/Os succeeded and all its own came back.
    bool start();
    [[nodiscard]] bool ended() const noexcept { return ended_.load(); }

  private:
    static constexpr std::uint32_t blocks_max = 8;  ///< of one request

    struct Slot {
        lab::Request request;
        StressIssuer* owner = nullptr;
        Slot* next = nullptr;
        std::atomic<bool> out{false};
        bool writes = false;
        std::uint64_t block = 0;
        std::uint32_t count = 0;
        std::uint32_t versions[blocks_max] = {};
        std::vector<std::uint8_t> data;
    };

    static void thread_main(void* context);
    static void on_complete(lab::Request& request);
    void run();
    bool issue(Slot& slot);
    void prepare(Slot& slot);
    void settle(Slot& slot);
    void check_read(Slot& slot);

    StressState& state_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::atomic<Slot*> done_{nullptr};  ///< completed, pushed by completion threads
    std::atomic<std::uint32_t> done_count_{0};
    std::atomic<bool> ended_{false};
};

}  // namespace wnbd::test
