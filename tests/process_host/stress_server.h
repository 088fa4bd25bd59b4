// SPDX-License-Identifier: LGPL-2.1-or-later
// The serving side of the stress: a process that maps the disk and serves it from a store with
// several threads, until the disk goes or the process is killed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/process_host/lab.h"
#include "tests/process_host/stamped_store.h"

namespace wnbd::test {

struct ServerCounters {
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint64_t> late{
        0};  ///< replies to requests that were given up (STATUS_NOT_FOUND)
    std::atomic<std::uint64_t> refused{0};  ///< calls that failed for want of resources, repeated
    std::atomic<std::uint64_t> damaged{0};  ///< write payloads that were no version of their block
    std::atomic<std::uint64_t> odd{0};      ///< answers of the driver that make no sense
};

class StressServer {
  public:
    StressServer(Lab& lab, StampedStore& store, ServerCounters& counters, std::uint64_t process_id)
        : client_(process_id, lab.device()), store_(store), counters_(counters) {}
    ~StressServer() { join(); }
    StressServer(const StressServer&) = delete;
    StressServer& operator=(const StressServer&) = delete;

    /// Maps the disk and starts the threads. Resources may be short on purpose: then the call is
    /// repeated.
    bool start(const std::string& name, unsigned threads);
    [[nodiscard]] std::uint8_t target() const noexcept {
        return static_cast<std::uint8_t>(info_.TargetId);
    }
    /// Kills the process. False: it cannot be ended.
    bool kill() { return client_.kill(); }
    /// Waits until all threads saw the end of the disk or of their process.
    void join();
    /// False while some thread still serves.
    [[nodiscard]] bool ended() const noexcept { return running_.load() == 0; }

  private:
    static void thread_main(void* context);
    void serve();
    /// False: no more requests will come.
    bool serve_one(std::uint8_t* buffer, std::uint32_t bytes);

    Client client_;
    StampedStore& store_;
    ServerCounters& counters_;
    WNBD_CONNECTION_INFO info_{};
    std::atomic<std::uint32_t> running_{0};
};

}  // namespace wnbd::test
