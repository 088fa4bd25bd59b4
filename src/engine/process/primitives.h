// SPDX-License-Identifier: LGPL-2.1-or-later
// What engine/platform.h is made of in a process: by process/platform.cpp, and by native/, which
// adds the checks of a debug kernel.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <ratio>
#include <thread>

#include "engine/platform.h"

namespace wnbd::platform::process {

inline void take(SpinLock& lock) noexcept {
    constexpr unsigned spins_before_yield = 64;
    const std::atomic_ref word(lock.storage);
    for (unsigned spins = 0;; ++spins) {
        if (word.load(std::memory_order_relaxed) == 0 &&
            word.exchange(1, std::memory_order_acquire) == 0)
            return;
        if (spins >= spins_before_yield) std::this_thread::yield();
    }
}

inline void give_back(SpinLock& lock) noexcept {
    std::atomic_ref(lock.storage).store(0, std::memory_order_release);
}

/// Waiting and setting go through a fixed set of mutex and condition variable pairs, chosen by the
/// event's address, because an event on a waiter's stack may be gone as soon as it is seen to be
/// set: a setter touches it under the pair's mutex only, as KeSetEvent does under the dispatcher's
/// lock.
struct Parking {
    std::mutex mutex;
    std::condition_variable changed;
};

inline Parking& parking_of(const Event& event) noexcept {
    constexpr std::size_t parking_count = 64;
    static std::array<Parking, parking_count> places;
    const auto address = reinterpret_cast<std::uintptr_t>(&event);
    return places[(address / sizeof(Event) ^ address >> 12) % parking_count];
}

[[nodiscard]] inline std::uint64_t system_time() noexcept {
    using Ticks = std::chrono::duration<std::uint64_t, std::ratio<1, 10'000'000>>;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<Ticks>(now).count();
}

}  // namespace wnbd::platform::process
