// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine's platform on the NT kernel.
#include <new>

#include "driver/ddk/nt.h"
#include "driver/pool.h"
#include "engine/platform.h"

namespace wnbd::platform {

static_assert(sizeof(KSPIN_LOCK) == sizeof(SpinLock::storage));
static_assert(sizeof(KEVENT) <= sizeof(Event) && alignof(KEVENT) <= alignof(Event));

namespace {

KEVENT* native(Event& event) noexcept {
    return std::launder(reinterpret_cast<KEVENT*>(event.storage));
}

}  // namespace

// A zeroed KSPIN_LOCK is what KeInitializeSpinLock makes.
std::uint8_t acquire(SpinLock& lock) noexcept {
    return KeAcquireSpinLockRaiseToDpc(reinterpret_cast<PKSPIN_LOCK>(&lock.storage));
}

void release(SpinLock& lock, std::uint8_t previous) noexcept {
    KeReleaseSpinLock(reinterpret_cast<PKSPIN_LOCK>(&lock.storage), previous);
}

void initialize(Event& event, EventKind kind) noexcept {
    KEVENT* const created = ::new (static_cast<void*>(event.storage)) KEVENT;
    KeInitializeEvent(
        created, kind == EventKind::manual_reset ? NotificationEvent : SynchronizationEvent, FALSE);
}

void set(Event& event) noexcept {
    KeSetEvent(native(event), IO_NO_INCREMENT, FALSE);
}

void clear(Event& event) noexcept {
    KeClearEvent(native(event));
}

// Kernel mode, so that the stack, where the event may lie, stays resident. Alertable, the wait ends
// when the thread is being terminated: a process that is killed while it fetches can go.
WaitResult wait(Event& event, bool alertable) noexcept {
    const NTSTATUS status = KeWaitForSingleObject(native(event), Executive, KernelMode,
                                                  alertable ? TRUE : FALSE, nullptr);
    const bool alerted = status == STATUS_ALERTED || status == STATUS_USER_APC;
    return alerted ? WaitResult::alerted : WaitResult::signalled;
}

std::uint64_t interrupt_time() noexcept {
    ULONG64 performance_counter = 0;
    return KeQueryInterruptTimePrecise(&performance_counter);
}

void* allocate(std::size_t bytes) noexcept {
    return driver::allocate_pool(bytes);
}

void free(void* memory) noexcept {
    if (memory != nullptr) driver::free_pool(memory);
}

}  // namespace wnbd::platform
