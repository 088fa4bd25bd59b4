// SPDX-License-Identifier: LGPL-2.1-or-later
// A process that serves one disk from plain memory with any number of threads; for tests that look
// at what arrives.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "lab/kernel/os.h"
#include "tests/process_host/lab.h"

namespace wnbd::test {

class MemoryServer {
  public:
    MemoryServer(Lab& lab, std::uint64_t process_id) : client_(process_id, lab.device()) {}
    ~MemoryServer() { stop(); }
    MemoryServer(const MemoryServer&) = delete;
    MemoryServer& operator=(const MemoryServer&) = delete;

    /// Maps the disk and serves it.
    bool start(const WNBD_PROPERTIES& properties, unsigned threads = 1);
    /// Removes the disk if it is still there, and waits for the threads.
    void stop();

    [[nodiscard]] Client& client() noexcept { return client_; }
    [[nodiscard]] lab::Address address() const noexcept {
        return {static_cast<std::uint8_t>(info_.BusNumber),
                static_cast<std::uint8_t>(info_.TargetId), static_cast<std::uint8_t>(info_.Lun)};
    }
    [[nodiscard]] WNBD_CONNECTION_ID id() const noexcept { return info_.ConnectionId; }
    /// The disk's bytes; look at them only while nothing is under way.
    std::vector<std::uint8_t> memory;

    /// Replies are held back while this is set.
    std::atomic<bool> hold{false};
    /// Requests that are held back now.
    std::atomic<std::uint64_t> in_hand{0};
    /// What every request is answered, if its ScsiStatus is not 0. Set while nothing is under way.
    WNBD_STATUS answer{};

    struct Seen {
        std::atomic<std::uint64_t> reads{0}, writes{0}, flushes{0}, unmaps{0}, forced{0};
    };
    Seen seen;

  private:
    static void thread_main(void* context);
    bool serve_one(std::vector<std::uint8_t>& buffer);
    std::uint32_t apply(const WNBD_IO_REQUEST& request, std::vector<std::uint8_t>& buffer);

    Client client_;
    WNBD_PROPERTIES properties_{};
    WNBD_CONNECTION_INFO info_{};
    lab::os::Mutex mutex_;  ///< guards memory among the serving threads
    std::atomic<std::uint32_t> running_{0};
    bool started_ = false;
};

}  // namespace wnbd::test
