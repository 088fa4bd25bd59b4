// SPDX-License-Identifier: LGPL-2.1-or-later
// Fast and guarded mutexes, push locks, critical and guarded regions. All of them sleep on the
// lock's own word.
#include "driver/ddk/kernel.h"
#include "lab/kernel/locks.h"
#include "lab/kernel/os.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

using PEX_PUSH_LOCK = ULONG_PTR*;  // opaque in the DDK

namespace {

// A mutex's Count as the DDK's inline initialiser leaves it: 1 is free. Taken: 0, taken with
// sleepers: -1.
constexpr LONG mutex_free = 1;
constexpr LONG mutex_taken = 0;
constexpr LONG mutex_contended = -1;

bool try_take(volatile LONG* count) {
    LONG free = mutex_free;
    return __atomic_compare_exchange_n(count, &free, mutex_taken, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void take(volatile LONG* count) {
    if (try_take(count)) return;
    while (__atomic_exchange_n(count, mutex_contended, __ATOMIC_ACQUIRE) != mutex_free) {
        os::wait_on(count, static_cast<std::uint32_t>(mutex_contended), -1);
    }
}

void give(volatile LONG* count) {
    if (__atomic_exchange_n(count, mutex_free, __ATOMIC_RELEASE) == mutex_contended)
        os::wake_one(count);
}

void require_no_apc(const char* function) {
    const ThreadState& thread = this_thread();
    if (thread.irql < APC_LEVEL && thread.critical_regions == 0) {
        violation("irql", "%s outside a critical region and below APC_LEVEL", function);
    }
}

}  // namespace

extern "C" {

VOID FASTCALL lab_ExAcquireFastMutex(PFAST_MUTEX mutex) {
    require_irql_at_most(APC_LEVEL, "ExAcquireFastMutex");
    before_acquire(mutex, LockKind::fast_mutex, false, "ExAcquireFastMutex");
    ThreadState& thread = this_thread();
    const KIRQL old = thread.irql;
    take(&mutex->Count);
    thread.irql = APC_LEVEL;
    mutex->Owner = reinterpret_cast<PKTHREAD>(&thread);
    mutex->OldIrql = old;
    after_acquire(mutex, LockKind::fast_mutex, false);
}

BOOLEAN FASTCALL lab_ExTryToAcquireFastMutex(PFAST_MUTEX mutex) {
    require_irql_at_most(APC_LEVEL, "ExTryToAcquireFastMutex");
    if (!try_take(&mutex->Count)) return FALSE;
    ThreadState& thread = this_thread();
    mutex->OldIrql = thread.irql;
    thread.irql = APC_LEVEL;
    after_acquire(mutex, LockKind::fast_mutex, false);
    return TRUE;
}

VOID FASTCALL lab_ExReleaseFastMutex(PFAST_MUTEX mutex) {
    if (!before_release(mutex, "ExReleaseFastMutex")) return;
    const auto old = static_cast<KIRQL>(mutex->OldIrql);
    mutex->Owner = nullptr;
    give(&mutex->Count);
    this_thread().irql = old;
}

VOID FASTCALL lab_ExAcquireFastMutexUnsafe(PFAST_MUTEX mutex) {
    require_irql_at_most(APC_LEVEL, "ExAcquireFastMutexUnsafe");
    require_no_apc("ExAcquireFastMutexUnsafe");
    before_acquire(mutex, LockKind::fast_mutex, false, "ExAcquireFastMutexUnsafe");
    take(&mutex->Count);
    after_acquire(mutex, LockKind::fast_mutex, false);
}

VOID FASTCALL lab_ExReleaseFastMutexUnsafe(PFAST_MUTEX mutex) {
    if (before_release(mutex, "ExReleaseFastMutexUnsafe")) give(&mutex->Count);
}

VOID FASTCALL lab_KeInitializeGuardedMutex(PKGUARDED_MUTEX mutex) {
    RtlZeroMemory(mutex, sizeof *mutex);
    mutex->Count = mutex_free;
    forget_locks(mutex, sizeof *mutex);
}

VOID FASTCALL lab_KeAcquireGuardedMutex(PKGUARDED_MUTEX mutex) {
    require_irql_at_most(APC_LEVEL, "KeAcquireGuardedMutex");
    before_acquire(mutex, LockKind::guarded_mutex, false, "KeAcquireGuardedMutex");
    ++this_thread().critical_regions;
    take(&mutex->Count);
    after_acquire(mutex, LockKind::guarded_mutex, false);
}

BOOLEAN FASTCALL lab_KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX mutex) {
    require_irql_at_most(APC_LEVEL, "KeTryToAcquireGuardedMutex");
    if (!try_take(&mutex->Count)) return FALSE;
    ++this_thread().critical_regions;
    after_acquire(mutex, LockKind::guarded_mutex, false);
    return TRUE;
}

VOID FASTCALL lab_KeReleaseGuardedMutex(PKGUARDED_MUTEX mutex) {
    if (!before_release(mutex, "KeReleaseGuardedMutex")) return;
    --this_thread().critical_regions;
    give(&mutex->Count);
}

VOID NTAPI lab_KeEnterCriticalRegion() {
    require_irql_at_most(APC_LEVEL, "KeEnterCriticalRegion");
    ++this_thread().critical_regions;
}

VOID NTAPI lab_KeLeaveCriticalRegion() {
    ThreadState& thread = this_thread();
    if (thread.critical_regions == 0) {
        violation("critical-region", "KeLeaveCriticalRegion outside a critical region");
        return;
    }
    --thread.critical_regions;
}

VOID NTAPI lab_ExInitializePushLock(PEX_PUSH_LOCK lock) {
    *lock = 0;
    forget_locks(lock, sizeof(ULONG_PTR));
}

VOID FASTCALL lab_ExAcquirePushLockExclusiveEx(PEX_PUSH_LOCK lock, ULONG) {
    require_irql_at_most(APC_LEVEL, "ExAcquirePushLockExclusiveEx");
    require_no_apc("ExAcquirePushLockExclusiveEx");
    before_acquire(lock, LockKind::push_lock, false, "ExAcquirePushLockExclusiveEx");
    // Low half: -1 exclusive, 0 free, n readers. Sleepers look again when it changes.
    auto* const word = reinterpret_cast<volatile LONG*>(lock);
    for (LONG seen = 0;
         !__atomic_compare_exchange_n(word, &seen, -1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
         seen = 0) {
        os::wait_on(word, static_cast<std::uint32_t>(seen), -1);
    }
    after_acquire(lock, LockKind::push_lock, false);
}

VOID FASTCALL lab_ExReleasePushLockExclusiveEx(PEX_PUSH_LOCK lock, ULONG) {
    if (!before_release(lock, "ExReleasePushLockExclusiveEx")) return;
    auto* const word = reinterpret_cast<volatile LONG*>(lock);
    __atomic_store_n(word, 0, __ATOMIC_RELEASE);
    os::wake_all(word);
}

VOID FASTCALL lab_ExAcquirePushLockSharedEx(PEX_PUSH_LOCK lock, ULONG) {
    require_irql_at_most(APC_LEVEL, "ExAcquirePushLockSharedEx");
    require_no_apc("ExAcquirePushLockSharedEx");
    before_acquire(lock, LockKind::push_lock, true, "ExAcquirePushLockSharedEx");
    auto* const word = reinterpret_cast<volatile LONG*>(lock);
    for (LONG seen = __atomic_load_n(word, __ATOMIC_RELAXED);;) {
        if (seen < 0) {
            os::wait_on(word, static_cast<std::uint32_t>(seen), -1);
            seen = __atomic_load_n(word, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(word, &seen, seen + 1, false, __ATOMIC_ACQUIRE,
                                               __ATOMIC_RELAXED)) {
            break;
        }
    }
    after_acquire(lock, LockKind::push_lock, true);
}

VOID FASTCALL lab_ExReleasePushLockSharedEx(PEX_PUSH_LOCK lock, ULONG) {
    if (!before_release(lock, "ExReleasePushLockSharedEx")) return;
    auto* const word = reinterpret_cast<volatile LONG*>(lock);
    if (__atomic_sub_fetch(word, 1, __ATOMIC_RELEASE) == 0) os::wake_all(word);
}

}  // extern "C"
