// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether something that was acknowledged may lie in the server's cache only.
#pragma once

#include <atomic>
#include <cstdint>

namespace wnbd::nbd {

/// A flush covers what was acknowledged before it was sent, once it has succeeded. Thread-safe, and
/// written only where the answer changes: every change comes by.
class Unflushed {
  public:
    /// Before its user hears that a change which was not forced is done.
    void acknowledged() noexcept {
        if (!changed_.load()) changed_.store(true);
    }
    /// Before a flush is sent. Numbers are not 0, and grow from call to call; calls don't overlap.
    void flush_begins(std::uint64_t number) noexcept {
        if (!changed_.load()) return;
        // In this order any() never misses both.
        covering_.store(number);
        changed_.store(false);
    }
    void flush_succeeded(std::uint64_t number) noexcept {
        auto covering = covering_.load();
        if (covering != 0 && covering <= number) covering_.compare_exchange_strong(covering, 0);
    }
    [[nodiscard]] bool any() const noexcept { return changed_.load() || covering_.load() != 0; }

  private:
    alignas(64) std::atomic<bool> changed_{false};  // since the last flush began
    // The last flush that began when something had changed, if neither it nor a later one has
    // succeeded.
    std::atomic<std::uint64_t> covering_{0};
};

}  // namespace wnbd::nbd
