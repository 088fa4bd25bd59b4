// SPDX-License-Identifier: LGPL-2.1-or-later
// What the engine needs of the system it runs on: locks, time, waiting, memory for tables. The
// driver implements it with the kernel's primitives, a process with the standard library's (native
// builds with checks, for tests). One of them is linked in, so that the I/O path pays for no
// indirection it does not need.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::platform {

/// A lock held for a handful of instructions: never over a copy, never over a call that can wait.
/// In the kernel it raises to DISPATCH_LEVEL. Ranks, lowest taken first: Adapter's control mutex
/// (engine/adapter.h), Disk's queue lock (engine/disk.h). No two spin locks are held at once.
struct SpinLock {
    std::uintptr_t storage = 0;
};

/// Returns what release() wants back (the IRQL before).
[[nodiscard]] std::uint8_t acquire(SpinLock& lock) noexcept;
void release(SpinLock& lock, std::uint8_t previous) noexcept;

class SpinGuard {
  public:
    explicit SpinGuard(SpinLock& lock) noexcept : lock_(lock), previous_(acquire(lock)) {}
    ~SpinGuard() { release(lock_, previous_); }
    SpinGuard(const SpinGuard&) = delete;
    SpinGuard& operator=(const SpinGuard&) = delete;

  private:
    SpinLock& lock_;
    std::uint8_t previous_;
};

/// Something a thread at PASSIVE_LEVEL can wait for. Any thread at or below DISPATCH_LEVEL may set
/// it.
struct alignas(8) Event {
    std::byte storage[24];
};

enum class EventKind : std::uint8_t {
    manual_reset,  // stays set: "it is over"
    auto_reset,    // one set releases one wait: "there is work"
};

enum class WaitResult : std::uint8_t {
    signalled,
    alerted,  // the waiting thread is being ended or its call was cancelled
};

void initialize(Event& event, EventKind kind) noexcept;
void set(Event& event) noexcept;
void clear(Event& event) noexcept;
/// Waits until the event is set. With `alertable`, also until the thread is alerted.
WaitResult wait(Event& event, bool alertable) noexcept;

/// A mutex for control paths at PASSIVE_LEVEL: creating, removing, listing. Built on an auto-reset
/// event that is set while the mutex is free.
class Mutex {
  public:
    void initialize() noexcept {
        platform::initialize(free_, EventKind::auto_reset);
        set(free_);
    }
    void lock() noexcept { wait(free_, false); }
    void unlock() noexcept { set(free_); }

  private:
    Event free_;
};

class MutexGuard {
  public:
    explicit MutexGuard(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
    ~MutexGuard() { mutex_.unlock(); }
    MutexGuard(const MutexGuard&) = delete;
    MutexGuard& operator=(const MutexGuard&) = delete;

  private:
    Mutex& mutex_;
};

/// Interrupt time in units of 100 ns: monotonic, counts sleep.
[[nodiscard]] std::uint64_t interrupt_time() noexcept;

/// Memory for a disk's tables, made when a disk is created, never on the I/O path. nullptr when
/// there is none. Aligned for any object.
[[nodiscard]] void* allocate(std::size_t bytes) noexcept;
void free(void* memory) noexcept;

}  // namespace wnbd::platform
