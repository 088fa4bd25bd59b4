// SPDX-License-Identifier: LGPL-2.1-or-later
// Spin locks of every kind and the IRQL they raise. The lock's word holds the owner's ThreadState.
#include "driver/ddk/kernel.h"
#include "lab/kernel/locks.h"
#include "lab/kernel/os.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

constexpr unsigned spins_before_yield = 64;

template <typename TryTake>
void spin_until(TryTake&& try_take) {
    for (unsigned round = 0; !try_take(); ++round) {
        if (round % spins_before_yield == spins_before_yield - 1) {
            os::yield();
        } else {
            os::relax();
        }
    }
}

bool try_take(PKSPIN_LOCK lock, ThreadState& thread) {
    ULONG_PTR free = 0;
    return __atomic_load_n(lock, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(lock, &free, reinterpret_cast<ULONG_PTR>(&thread), false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void acquire(PKSPIN_LOCK lock, const char* function) {
    ThreadState& thread = this_thread();
    counters().spin_locks.fetch_add(1, std::memory_order_relaxed);
    before_acquire(lock, LockKind::spin, false, function);
    spin_until([&] { return try_take(lock, thread); });
    after_acquire(lock, LockKind::spin, false);
}

void release(PKSPIN_LOCK lock, const char* function) {
    if (before_release(lock, function)) __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

void raise_to_dispatch(const char* function, KIRQL& old) {
    ThreadState& thread = this_thread();
    if (thread.irql > DISPATCH_LEVEL)
        violation("irql", "%s called at IRQL %u", function, thread.irql);
    old = thread.irql;
    thread.irql = DISPATCH_LEVEL;
}

void lower_to(KIRQL irql, const char* function) {
    ThreadState& thread = this_thread();
    if (irql > thread.irql)
        violation("irql", "%s 'lowers' the IRQL from %u to %u", function, thread.irql, irql);
    if (irql < DISPATCH_LEVEL && holds_kind(thread, LockKind::spin)) {
        violation("irql", "%s lowers the IRQL to %u while a spin lock is held", function, irql);
    }
    thread.irql = irql;
}

void require_dispatch(const char* function) {
    const unsigned char irql = this_thread().irql;
    if (irql != DISPATCH_LEVEL)
        violation("irql", "%s called at IRQL %u, must be DISPATCH_LEVEL", function, irql);
}

constexpr LONG exclusive_bit = static_cast<LONG>(0x80000000);

bool try_take_exclusive(volatile LONG* lock) {
    LONG free = 0;
    return __atomic_compare_exchange_n(lock, &free, exclusive_bit, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

bool try_take_shared(volatile LONG* lock) {
    LONG readers = __atomic_load_n(lock, __ATOMIC_RELAXED);
    return readers >= 0 && __atomic_compare_exchange_n(lock, &readers, readers + 1, false,
                                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

}  // namespace

extern "C" {

VOID NTAPI lab_KeInitializeSpinLock(PKSPIN_LOCK lock) {
    *lock = 0;
    forget_locks(lock, sizeof *lock);
}

KIRQL NTAPI lab_KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK lock) {
    KIRQL old;
    raise_to_dispatch("KeAcquireSpinLockRaiseToDpc", old);
    acquire(lock, "KeAcquireSpinLockRaiseToDpc");
    return old;
}

VOID NTAPI lab_KeReleaseSpinLock(PKSPIN_LOCK lock, KIRQL old) {
    release(lock, "KeReleaseSpinLock");
    lower_to(old, "KeReleaseSpinLock");
}

VOID NTAPI lab_KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK lock) {
    require_dispatch("KeAcquireSpinLockAtDpcLevel");
    acquire(lock, "KeAcquireSpinLockAtDpcLevel");
}

VOID NTAPI lab_KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK lock) {
    require_dispatch("KeReleaseSpinLockFromDpcLevel");
    release(lock, "KeReleaseSpinLockFromDpcLevel");
}

BOOLEAN NTAPI lab_KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK lock) {
    require_dispatch("KeTryToAcquireSpinLockAtDpcLevel");
    if (!try_take(lock, this_thread())) return FALSE;
    after_acquire(lock, LockKind::spin, false);
    return TRUE;
}

VOID NTAPI lab_KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK lock, PKLOCK_QUEUE_HANDLE handle) {
    raise_to_dispatch("KeAcquireInStackQueuedSpinLock", handle->OldIrql);
    handle->LockQueue.Next = nullptr;
    handle->LockQueue.Lock = lock;
    acquire(lock, "KeAcquireInStackQueuedSpinLock");
}

VOID NTAPI lab_KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE handle) {
    release(const_cast<PKSPIN_LOCK>(handle->LockQueue.Lock), "KeReleaseInStackQueuedSpinLock");
    lower_to(handle->OldIrql, "KeReleaseInStackQueuedSpinLock");
}

VOID NTAPI lab_KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK lock,
                                                        PKLOCK_QUEUE_HANDLE handle) {
    require_dispatch("KeAcquireInStackQueuedSpinLockAtDpcLevel");
    handle->LockQueue.Lock = lock;
    acquire(lock, "KeAcquireInStackQueuedSpinLockAtDpcLevel");
}

VOID NTAPI lab_KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE handle) {
    require_dispatch("KeReleaseInStackQueuedSpinLockFromDpcLevel");
    release(const_cast<PKSPIN_LOCK>(handle->LockQueue.Lock),
            "KeReleaseInStackQueuedSpinLockFromDpcLevel");
}

KIRQL NTAPI lab_ExAcquireSpinLockExclusive(volatile LONG* lock) {
    KIRQL old;
    raise_to_dispatch("ExAcquireSpinLockExclusive", old);
    before_acquire(const_cast<LONG*>(lock), LockKind::spin, false, "ExAcquireSpinLockExclusive");
    spin_until([&] { return try_take_exclusive(lock); });
    after_acquire(const_cast<LONG*>(lock), LockKind::spin, false);
    return old;
}

VOID NTAPI lab_ExReleaseSpinLockExclusive(volatile LONG* lock, KIRQL old) {
    if (before_release(const_cast<LONG*>(lock), "ExReleaseSpinLockExclusive")) {
        __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    }
    lower_to(old, "ExReleaseSpinLockExclusive");
}

KIRQL NTAPI lab_ExAcquireSpinLockShared(volatile LONG* lock) {
    KIRQL old;
    raise_to_dispatch("ExAcquireSpinLockShared", old);
    before_acquire(const_cast<LONG*>(lock), LockKind::spin, true, "ExAcquireSpinLockShared");
    spin_until([&] { return try_take_shared(lock); });
    after_acquire(const_cast<LONG*>(lock), LockKind::spin, true);
    return old;
}

VOID NTAPI lab_ExReleaseSpinLockShared(volatile LONG* lock, KIRQL old) {
    if (before_release(const_cast<LONG*>(lock), "ExReleaseSpinLockShared")) {
        __atomic_sub_fetch(lock, 1, __ATOMIC_RELEASE);
    }
    lower_to(old, "ExReleaseSpinLockShared");
}

KIRQL NTAPI lab_KeGetCurrentIrql() {
    return this_thread().irql;
}

KIRQL NTAPI lab_KfRaiseIrql(KIRQL irql) {
    ThreadState& thread = this_thread();
    if (irql < thread.irql)
        violation("irql", "KfRaiseIrql 'raises' from %u to %u", thread.irql, irql);
    const KIRQL old = thread.irql;
    thread.irql = irql;
    return old;
}

VOID NTAPI lab_KeLowerIrql(KIRQL irql) {
    lower_to(irql, "KeLowerIrql");
}

}  // extern "C"
