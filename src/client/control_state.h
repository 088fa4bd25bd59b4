// SPDX-License-Identifier: LGPL-2.1-or-later
// How `map` answers Ctrl-C, Ctrl-Break, close, logoff and shutdown. Windows calls a control handler
// on a thread of its own, once per event and without waiting for an earlier one.
#pragma once

#include <atomic>
#include <cstdint>

namespace wnbd::client {

enum class ControlAction : std::uint8_t {
    remove_soft,  // the first event: ask Windows to let the disk go, then remove it hard
    remove_hard,  // a later one: the user does not want to wait
    none,         // the disk is gone, or being removed hard already
};

/// Thread-safe. Once finished() was called, no action touches the disk's name again, which may by
/// then belong to another process.
class ControlState {
  public:
    /// Called at each event.
    [[nodiscard]] ControlAction next() noexcept {
        if (finished_.load()) return ControlAction::none;
        switch (events_.fetch_add(1)) {
            case 0: return ControlAction::remove_soft;
            case 1: return ControlAction::remove_hard;
            default: return ControlAction::none;
        }
    }

    /// Serving has ended.
    void finished() noexcept { finished_.store(true); }

  private:
    std::atomic<std::uint32_t> events_{0};
    std::atomic<bool> finished_{false};
};

}  // namespace wnbd::client
