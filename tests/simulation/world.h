// SPDX-License-Identifier: LGPL-2.1-or-later
// Virtual time, one source of chance and one queue of events: everything that happens in a
// simulation happens in an order that the seed alone decides.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "nbd/recovery.h"

namespace wnbd::nbd::sim {

using Micros = std::chrono::microseconds;

/// splitmix64: small, and the same everywhere.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() noexcept {
        auto mixed = (state_ += 0x9e3779b97f4a7c15);
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
        return mixed ^ (mixed >> 31);
    }
    /// 0 to `count` - 1.
    std::uint64_t below(std::uint64_t count) noexcept { return next() % count; }
    std::uint64_t between(std::uint64_t first, std::uint64_t last) noexcept {
        return first + below(last - first + 1);
    }
    bool chance(unsigned in_10000) noexcept { return below(10'000) < in_10000; }
    bool coin() noexcept { return (next() & 1) != 0; }

  private:
    std::uint64_t state_;
};

class World {
  public:
    using Action = std::function<void()>;

    explicit World(std::uint64_t seed) : random_(seed) {}

    [[nodiscard]] TimePoint now() const noexcept { return now_; }
    [[nodiscard]] Random& random() noexcept { return random_; }
    /// Events so far: finer than the time, for before and after.
    [[nodiscard]] std::uint64_t moment() const noexcept { return moment_; }

    /// Those of one time happen in the order of their calls.
    void at(TimePoint time, Action action) {
        events_.push_back({std::max(time, now_), order_++, std::move(action)});
        std::push_heap(events_.begin(), events_.end());
    }
    void after(Micros delay, Action action) { at(now_ + delay, std::move(action)); }

    /// Lets the next event happen; false when there is none, or when an invariant is broken.
    bool step() {
        if (events_.empty() || failed()) return false;
        std::pop_heap(events_.begin(), events_.end());
        const auto event = std::move(events_.back());
        events_.pop_back();
        now_ = event.time;
        ++moment_;
        event.action();
        return true;
    }

    /// From now on nothing goes wrong any more: whatever is begun must come to its end.
    void heal() noexcept { healed_ = true; }
    [[nodiscard]] bool healed() const noexcept { return healed_; }

    /// An invariant is broken. The first one counts.
    void fail(std::string what) {
        if (failure_.empty()) failure_ = std::move(what);
    }
    [[nodiscard]] bool failed() const noexcept { return !failure_.empty(); }
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }

  private:
    struct Event {
        TimePoint time;
        std::uint64_t order;
        Action action;
        // The heap gives the greatest first.
        bool operator<(const Event& other) const {
            return time != other.time ? time > other.time : order > other.order;
        }
    };

    Random random_;
    TimePoint now_{std::chrono::hours(1)};
    std::uint64_t moment_ = 0;
    std::uint64_t order_ = 0;
    std::vector<Event> events_;  // a heap
    std::string failure_;
    bool healed_ = false;
};

}  // namespace wnbd::nbd::sim
