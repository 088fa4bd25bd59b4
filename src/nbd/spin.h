// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether to spin before sleeping, learnt from what spinning has brought.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace wnbd::nbd {

/// A sleep costs two scheduler passes, and between two CPUs an interrupt; a spin that finds nothing
/// costs the CPU that the server may need. So a fruitless spin is followed by waits that do not
/// spin, twice as many each time. Not thread-safe: the waiting thread's.
class SpinChoice {
  public:
    static constexpr std::chrono::microseconds time_max{50};  // of one spin
    static constexpr std::uint32_t rest_max = 1024;           // waits without a spin

    /// Asked once for each wait that may spin.
    [[nodiscard]] bool worth_it() noexcept {
        if (resting_ == 0) return true;
        --resting_;
        return false;
    }
    /// After a spin.
    void learn(bool found) noexcept {
        if (found) {
            rest_ = 0;
            return;
        }
        rest_ = std::clamp(rest_ * 2, 1U, rest_max);
        resting_ = rest_;
    }

  private:
    std::uint32_t rest_ = 0;     // waits to be left out after the last fruitless spin
    std::uint32_t resting_ = 0;  // how many of them are still to come
};

}  // namespace wnbd::nbd
