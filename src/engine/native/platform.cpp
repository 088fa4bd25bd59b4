// SPDX-License-Identifier: LGPL-2.1-or-later
// engine/platform.h on the standard library, for tests, fuzzers and benchmarks on the build host.
// It checks what a debug kernel would: no wait and no allocation while a spin lock is held, no two
// spin locks at once, none released by a thread that does not hold it.
#include "engine/platform.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <new>

#include "engine/native/control.h"
#include "engine/process/primitives.h"

namespace wnbd::platform {

namespace {

using process::Parking;
using process::parking_of;

[[noreturn]] void misuse(const char* what) noexcept {
    std::fprintf(stderr, "platform: %s\n", what);
    std::abort();
}

thread_local unsigned held_spin_locks = 0;

/// What the bytes of an Event hold. Guarded by its parking's mutex.
struct EventState {
    bool set;
    EventKind kind;
    std::uint32_t magic;
};
static_assert(sizeof(EventState) <= sizeof(Event::storage));
constexpr std::uint32_t event_magic = 0x45564E54;

EventState& state_of(Event& event) noexcept {
    auto& state = *reinterpret_cast<EventState*>(event.storage);
    if (state.magic != event_magic) misuse("an event is used that was not initialized");
    return state;
}

std::atomic<unsigned> waiting_threads{0};

}  // namespace

namespace native {

struct Thread {
    std::atomic<bool> alerted{false};
    std::atomic<Parking*> parked_at{nullptr};
};

namespace {

const ThreadHandle& own_handle() {
    thread_local const ThreadHandle handle = std::make_shared<Thread>();
    return handle;
}

std::atomic<bool> time_held{false};
std::atomic<std::uint64_t> held_time{0};

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> allocation_limit{~std::uint64_t{0}};
std::atomic<std::int64_t> blocks_in_use{0};

thread_local Arena* arena_in_use = nullptr;

void* allocate_in(Arena& arena, std::size_t bytes) noexcept {
    constexpr std::size_t alignment = alignof(std::max_align_t);
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded > static_cast<std::size_t>(arena.end - arena.next)) return nullptr;
    std::byte* const memory = arena.next;
    arena.next += rounded;
    ++arena.blocks;
    return memory;
}

}  // namespace

ThreadHandle this_thread() {
    return own_handle();
}

void alert(const ThreadHandle& thread) noexcept {
    // The waiter publishes its parking before it looks at `alerted`: one of the two sees the other.
    thread->alerted.store(true);
    Parking* const parking = thread->parked_at.load();
    if (parking == nullptr) return;
    const std::lock_guard guard(parking->mutex);
    parking->changed.notify_all();
}

void hold_time(std::uint64_t now) noexcept {
    held_time.store(now);
    time_held.store(true);
}

void advance_time(std::uint64_t by) noexcept {
    held_time.fetch_add(by);
}

void release_time() noexcept {
    time_held.store(false);
}

void fail_allocations_after(std::uint64_t count) noexcept {
    allocation_limit.store(allocations.load() + count);
}

void allocate_from(Arena* arena) noexcept {
    arena_in_use = arena;
}

void restore_allocations() noexcept {
    allocation_limit.store(~std::uint64_t{0});
}

std::int64_t allocations_outstanding() noexcept {
    return blocks_in_use.load();
}

std::uint64_t allocations_made() noexcept {
    return allocations.load();
}

unsigned spin_locks_held() noexcept {
    return held_spin_locks;
}

unsigned threads_waiting() noexcept {
    return waiting_threads.load();
}

bool is_set(Event& event) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    return state_of(event).set;
}

}  // namespace native

std::uint8_t acquire(SpinLock& lock) noexcept {
    if (held_spin_locks != 0) misuse("a second spin lock is taken");
    process::take(lock);
    ++held_spin_locks;
    return 0;
}

void release(SpinLock& lock, std::uint8_t /*previous*/) noexcept {
    if (held_spin_locks == 0) misuse("a spin lock is released that this thread does not hold");
    --held_spin_locks;
    process::give_back(lock);
}

void initialize(Event& event, EventKind kind) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    new (event.storage) EventState{false, kind, event_magic};
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

WaitResult wait(Event& event, bool alertable) noexcept {
    if (held_spin_locks != 0) misuse("a thread waits while it holds a spin lock");
    Parking& parking = parking_of(event);
    native::Thread& self = *native::own_handle();
    self.parked_at.store(&parking);

    std::unique_lock guard(parking.mutex);
    EventState& state = state_of(event);
    waiting_threads.fetch_add(1);
    WaitResult result = WaitResult::signalled;
    while (!state.set) {
        if (alertable && self.alerted.exchange(false)) {
            result = WaitResult::alerted;
            break;
        }
        parking.changed.wait(guard);
    }
    if (result == WaitResult::signalled && state.kind == EventKind::auto_reset) state.set = false;
    waiting_threads.fetch_sub(1);
    self.parked_at.store(nullptr);
    return result;
}

std::uint64_t interrupt_time() noexcept {
    if (native::time_held.load()) return native::held_time.load();
    return process::system_time();
}

void* allocate(std::size_t bytes) noexcept {
    if (held_spin_locks != 0) misuse("memory is allocated while a spin lock is held");
    if (native::allocations.fetch_add(1) >= native::allocation_limit.load()) return nullptr;
    if (native::arena_in_use != nullptr) return native::allocate_in(*native::arena_in_use, bytes);
    void* const memory = std::malloc(bytes);
    if (memory != nullptr) native::blocks_in_use.fetch_add(1);
    return memory;
}

void free(void* memory) noexcept {
    if (memory == nullptr) return;
    if (native::arena_in_use != nullptr) {
        --native::arena_in_use->blocks;
        return;
    }
    native::blocks_in_use.fetch_sub(1);
    std::free(memory);
}

}  // namespace wnbd::platform
