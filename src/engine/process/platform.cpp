// SPDX-License-Identifier: LGPL-2.1-or-later
// engine/platform.h on the standard library, for a process that runs the engine itself. Nobody
// alerts a thread here, so that an alertable wait is a wait.
#include "engine/platform.h"

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>

namespace wnbd::platform {
namespace {

constexpr std::uintptr_t lock_free_value = 0;
constexpr std::uintptr_t lock_taken_value = 1;
constexpr unsigned spins_before_yield = 64;

// Waiting and setting go through a fixed set of mutex and condition variable pairs, chosen by the
// event's address, because an event may be gone as soon as it is seen to be set: a setter touches
// it under the pair's mutex only.
struct Parking {
    std::mutex mutex;
    std::condition_variable changed;
};

constexpr std::size_t parking_count = 16;

Parking& parking_of(const Event& event) noexcept {
    static std::array<Parking, parking_count> places;
    const auto address = reinterpret_cast<std::uintptr_t>(&event);
    return places[(address / sizeof(Event) ^ address >> 12) % parking_count];
}

/// What the bytes of an Event hold. Guarded by its parking's mutex.
struct EventState {
    bool set;
    EventKind kind;
};
static_assert(sizeof(EventState) <= sizeof(Event::storage));

EventState& state_of(Event& event) noexcept {
    return *std::launder(reinterpret_cast<EventState*>(event.storage));
}

}  // namespace

std::uint8_t acquire(SpinLock& lock) noexcept {
    const std::atomic_ref word(lock.storage);
    for (unsigned spins = 0;; ++spins) {
        if (word.load(std::memory_order_relaxed) == lock_free_value &&
            word.exchange(lock_taken_value, std::memory_order_acquire) == lock_free_value)
            return 0;
        if (spins >= spins_before_yield) std::this_thread::yield();
    }
}

void release(SpinLock& lock, std::uint8_t /*previous*/) noexcept {
    std::atomic_ref(lock.storage).store(lock_free_value, std::memory_order_release);
}

void initialize(Event& event, EventKind kind) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    new (event.storage) EventState{false, kind};
}

void set(Event& event) noexcept {
    Parking& parking = parking_of(event);
    const std::lock_guard guard(parking.mutex);
    state_of(event).set = true;
    parking.changed.notify_all();
}

void clear(Event& event) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    state_of(event).set = false;
}

WaitResult wait(Event& event, bool /*alertable*/) noexcept {
    Parking& parking = parking_of(event);
    std::unique_lock guard(parking.mutex);
    EventState& state = state_of(event);
    parking.changed.wait(guard, [&] { return state.set; });
    if (state.kind == EventKind::auto_reset) state.set = false;
    return WaitResult::signalled;
}

std::uint64_t interrupt_time() noexcept {
    using Ticks = std::chrono::duration<std::uint64_t, std::ratio<1, 10'000'000>>;
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<Ticks>(now).count();
}

void* allocate(std::size_t bytes) noexcept {
    return std::malloc(bytes);
}

void free(void* memory) noexcept {
    std::free(memory);
}

}  // namespace wnbd::platform
