// SPDX-License-Identifier: LGPL-2.1-or-later
// Run-down protection: users come and go until somebody closes the gate and waits for the last.
#pragma once

#include <atomic>
#include <cstdint>

#include "engine/platform.h"

namespace wnbd::driver {

class Rundown {
  public:
    /// Opens the gate. PASSIVE_LEVEL; nobody uses or waits.
    void initialize() noexcept {
        platform::initialize(empty_, platform::EventKind::manual_reset);
        users_.store(0);
    }

    /// False once the gate is closed. Any IRQL up to DISPATCH_LEVEL.
    [[nodiscard]] bool acquire() noexcept {
        std::uint32_t seen = users_.load();
        do {
            if ((seen & closed_bit) != 0) return false;
        } while (!users_.compare_exchange_weak(seen, seen + 1));
        return true;
    }

    void release() noexcept {
        if (users_.fetch_sub(1) == (closed_bit | 1)) platform::set(empty_);
    }

    /// Lets nobody in any more, without waiting. Any IRQL up to DISPATCH_LEVEL; any number of
    /// times.
    void close() noexcept {
        if (users_.fetch_or(closed_bit) == 0) platform::set(empty_);
    }

    /// After close(): returns when the last user is gone. PASSIVE_LEVEL; any number of threads.
    void wait() noexcept { (void)platform::wait(empty_, false); }

  private:
    static constexpr std::uint32_t closed_bit = 0x80000000;
    std::atomic<std::uint32_t> users_{closed_bit};
    platform::Event empty_;
};

}  // namespace wnbd::driver
