// SPDX-License-Identifier: LGPL-2.1-or-later
// Rundown protection. The word: bit 0 says that the rundown began, the rest counts references by
// twos.
#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {
constexpr ULONG_PTR active_bit = 1;
constexpr ULONG_PTR one = 2;
}  // namespace

extern "C" {

VOID NTAPI lab_ExInitializeRundownProtection(PEX_RUNDOWN_REF reference) {
    reference->Count = 0;
}

VOID NTAPI lab_ExReInitializeRundownProtection(PEX_RUNDOWN_REF reference) {
    if (reference->Count != active_bit)
        violation("rundown", "%p is used again before its rundown ended",
                  static_cast<void*>(reference));
    reference->Count = 0;
}

BOOLEAN NTAPI lab_ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF reference, ULONG count) {
    require_irql_at_most(DISPATCH_LEVEL, "ExAcquireRundownProtection");
    ULONG_PTR value = __atomic_load_n(&reference->Count, __ATOMIC_RELAXED);
    while ((value & active_bit) == 0) {
        if (__atomic_compare_exchange_n(&reference->Count, &value, value + one * count, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return TRUE;
        }
    }
    return FALSE;
}

BOOLEAN NTAPI lab_ExAcquireRundownProtection(PEX_RUNDOWN_REF reference) {
    return lab_ExAcquireRundownProtectionEx(reference, 1);
}

VOID NTAPI lab_ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF reference, ULONG count) {
    require_irql_at_most(DISPATCH_LEVEL, "ExReleaseRundownProtection");
    const ULONG_PTR before = __atomic_fetch_sub(&reference->Count, one * count, __ATOMIC_ACQ_REL);
    if (before / one < count) {
        violation("rundown", "%p is released more often than acquired",
                  static_cast<void*>(reference));
        return;
    }
    // The waiter may free the memory from here on; only the address is used.
    if (before - one * count == active_bit) os::wake_all(&reference->Count);
}

VOID NTAPI lab_ExReleaseRundownProtection(PEX_RUNDOWN_REF reference) {
    lab_ExReleaseRundownProtectionEx(reference, 1);
}

VOID NTAPI lab_ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF reference) {
    require_irql_at_most(APC_LEVEL, "ExWaitForRundownProtectionRelease");
    if (this_thread().held_count != 0) {
        violation("wait-with-lock", "ExWaitForRundownProtectionRelease while lock %p is held",
                  this_thread().held[0].lock);
    }
    ULONG_PTR value = __atomic_or_fetch(&reference->Count, active_bit, __ATOMIC_ACQ_REL);
    this_thread().in_wait.store(true);
    while (value != active_bit) {
        os::wait_on(&reference->Count, static_cast<std::uint32_t>(value), -1);
        value = __atomic_load_n(&reference->Count, __ATOMIC_ACQUIRE);
    }
    this_thread().in_wait.store(false);
}

VOID NTAPI lab_ExRundownCompleted(PEX_RUNDOWN_REF reference) {
    __atomic_store_n(&reference->Count, active_bit, __ATOMIC_RELEASE);
}

}  // extern "C"
