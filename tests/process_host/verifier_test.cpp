// SPDX-License-Identifier: LGPL-2.1-or-later
// Each rule of the verifier is broken once on purpose, and must be reported under its name; and
// doing the same thing properly must not be. Usage: verifier_test MISUSE.SYS
#include "lab/kernel/verifier.h"

#include <cstring>

#include "lab/kernel/os.h"
#include "lab/kernel/user_memory.h"
#include "lab/process/driver_host.h"
#include "tests/process_host/check.h"
#include "tests/process_host/misuse.h"
#include "tests/process_host/verifier_cases.h"

using namespace wnbd::lab;
using namespace wnbd::test;

namespace {

LARGE_INTEGER milliseconds(int count) {
    LARGE_INTEGER time;
    time.QuadPart = -10'000LL * count;
    return time;
}

void test_locks() {
    static KSPIN_LOCK a, b, c;
    static FAST_MUTEX mutex;
    KeInitializeSpinLock(&a);
    KeInitializeSpinLock(&b);
    KeInitializeSpinLock(&c);
    ExInitializeFastMutex(&mutex);
    KEVENT event;
    KeInitializeEvent(&event, NotificationEvent, TRUE);
    LARGE_INTEGER time = milliseconds(1);
    const auto wait = [&] { KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &time); };
    expect("locks used well", nullptr, [&] {
        KIRQL first, second;
        KeAcquireSpinLock(&a, &first);
        KeAcquireSpinLock(&b, &second);
        KeReleaseSpinLock(&b, second);
        KeReleaseSpinLock(&a, first);
        ExAcquireFastMutex(&mutex);
        ExReleaseFastMutex(&mutex);
        wait();
    });
    expect("locks the other way round", "lock-order", [&] {
        KIRQL first, second;
        KeAcquireSpinLock(&b, &first);
        KeAcquireSpinLock(&a, &second);
        KeReleaseSpinLock(&a, second);
        KeReleaseSpinLock(&b, first);
    });
    expect("a mutex under a spin lock", "lock-order", [&] {
        KIRQL old;
        KeAcquireSpinLock(&c, &old);
        kernel::this_thread().irql = APC_LEVEL;  // the IRQL rule has its own test
        ExAcquireFastMutex(&mutex);
        ExReleaseFastMutex(&mutex);
        kernel::this_thread().irql = DISPATCH_LEVEL;
        KeReleaseSpinLock(&c, old);
    });
    expect("a lock taken twice", "lock-recursion", [&] {
        KIRQL old;
        KeAcquireSpinLock(&a, &old);
        KeAcquireSpinLock(&a, &old);
    });
    KeInitializeSpinLock(&a);
    expect("a lock released that is not held", "lock-not-held",
           [&] { KeReleaseSpinLock(&b, PASSIVE_LEVEL); });
    expect("the inner lock's release lowers too far", "irql", [&] {
        KIRQL first, second;
        KeAcquireSpinLock(&a, &first);
        KeAcquireSpinLock(&b, &second);
        KeReleaseSpinLock(&b, first);
        KeReleaseSpinLock(&a, first);
    });
    expect("a wait at DISPATCH_LEVEL", "irql", [&] {
        const kernel::RaisedIrql raised(kernel::dispatch_level);
        wait();
    });
    expect("a wait with a mutex held", "wait-with-lock", [&] {
        ExAcquireFastMutex(&mutex);
        wait();
        ExReleaseFastMutex(&mutex);
    });
    expect("a critical region left that was not entered", "critical-region",
           [] { KeLeaveCriticalRegion(); });
    expect("a callback that comes back with a lock", "lock-held", [&] {
        const kernel::CallbackGuard guard("the test");
        kernel::this_thread().held[kernel::this_thread().held_count++] = {
            &a, kernel::LockKind::spin, false};
    });
    expect("a semaphore over its limit", "semaphore-limit", [] {
        static KSEMAPHORE semaphore;
        KeInitializeSemaphore(&semaphore, 1, 1);
        KeReleaseSemaphore(&semaphore, 0, 1, FALSE);
    });
    expect("a wait for something that is no object", "bad-object", [&] {
        static KEVENT wild;
        std::memset(&wild, 0xEE, sizeof wild);
        KeWaitForSingleObject(&wild, Executive, KernelMode, FALSE, nullptr);
    });
    expect("run-down released once too often", "rundown", [] {
        static EX_RUNDOWN_REF reference;
        ExInitializeRundownProtection(&reference);
        ExReleaseRundownProtection(&reference);
    });
}

void test_lock_bounds() {
    expect("more locks than a thread may hold", "lock-count", [] {
        static KSPIN_LOCK locks[kernel::ThreadState::max_held + 1];
        KIRQL old;
        for (KSPIN_LOCK& lock : locks) {
            KeInitializeSpinLock(&lock);
            KeAcquireSpinLock(&lock, &old);
        }
    });
    expect("a lock's memory freed while it is held", "lock-freed", [] {
        constexpr ULONG tag = 0x6B636F4C;
        auto* const lock = static_cast<PKSPIN_LOCK>(
            ExAllocatePoolWithTag(static_cast<POOL_TYPE>(512), sizeof(KSPIN_LOCK), tag));
        KeInitializeSpinLock(lock);
        KIRQL old;
        KeAcquireSpinLock(lock, &old);
        ExFreePoolWithTag(lock, tag);
    });
    expect("pages locked under a mutex", "lock-over-paging", [] {
        static FAST_MUTEX mutex;
        static char page[16];
        ExInitializeFastMutex(&mutex);
        PMDL const mdl = IoAllocateMdl(page, sizeof page, FALSE, FALSE, nullptr);
        ExAcquireFastMutex(&mutex);
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        ExReleaseFastMutex(&mutex);
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
}

void test_mdls() {
    static char page[100];
    const auto make = [] { return IoAllocateMdl(page, sizeof page, FALSE, FALSE, nullptr); };
    expect("an MDL's proper life", nullptr, [&] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        claim(MmMapLockedPagesSpecifyCache(
                  mdl, KernelMode, MmCached, nullptr, FALSE,
                  static_cast<MM_PAGE_PRIORITY>(NormalPagePriority | 0x40000000)) == page,
              "a plain user page maps to itself");
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
        kernel::check_balance();
    });
    expect("an MDL freed while locked", "mdl-free", [&] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        IoFreeMdl(mdl);
    });
    expect("an MDL locked twice", "mdl-lock", [&] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL unlocked that is not locked", "mdl-unlock", [&] {
        PMDL const mdl = make();
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL mapped that is not locked", "mdl-map", [&] {
        PMDL const mdl = make();
        MmMapLockedPagesSpecifyCache(
            mdl, KernelMode, MmCached, nullptr, FALSE,
            static_cast<MM_PAGE_PRIORITY>(NormalPagePriority | 0x40000000));
        IoFreeMdl(mdl);
    });
    expect("an MDL unmapped that is not mapped", "mdl-unmap", [&] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        MmUnmapLockedPages(page, mdl);
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("a locked MDL built for non-paged pool", "mdl-build", [&] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        MmBuildMdlForNonPagedPool(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL freed twice", "mdl-use-after-free", [&] {
        PMDL const mdl = make();
        IoFreeMdl(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL that nobody made", "bad-mdl", [] {
        static MDL mdl;
        MmUnlockPages(&mdl);
    });
    expect("pages locked at DISPATCH_LEVEL", "irql", [&] {
        PMDL const mdl = make();
        {
            const kernel::RaisedIrql raised(kernel::dispatch_level);
            MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
        }
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL never freed", "mdl-leak", [&] {
        make();
        kernel::check_balance();
    });
}

void test_driver(const char* path) {
    process::DriverHost host;
    if (!claim(host.load(path, L"misuse", nullptr), "the misuse driver loads: %s",
               host.error().c_str()))
        return;
    const auto call = [&host](Misuse misuse, ProbeRequest* request = nullptr) {
        const kernel::CallbackGuard guard("StartIo");
        host.driver()->DriverStartIo(
            reinterpret_cast<PDEVICE_OBJECT>(static_cast<ULONG_PTR>(misuse)),
            reinterpret_cast<PIRP>(request));
    };
    struct {
        const char* name;
        const char* rule;
        Misuse misuse;
    } const cases[] = {
        {"a block touched after it was freed", "use-after-free", Misuse::touch_after_free},
        {"the page behind a block", "pool-overrun", Misuse::touch_next_page},
        {"the bytes behind a block", "pool-overrun", Misuse::touch_slack},
        {"the bytes before a block", "pool-overrun", Misuse::touch_before},
        {"an address where no block ever was", "wild-pointer", Misuse::touch_wild},
        {"a block freed twice", "double-free", Misuse::free_twice},
        {"a pointer into a block freed", "pool-free", Misuse::free_inside},
        {"a block freed with another tag", "pool-tag", Misuse::wrong_tag},
        {"executable pool", "executable-pool", Misuse::executable_pool},
        {"a block of no bytes", "pool-size", Misuse::no_bytes},
        {"an executable mapping", "executable-mapping", Misuse::map_executable},
        {"paged pool at DISPATCH_LEVEL", "irql", Misuse::paged_at_dispatch},
        {"a callback that leaves the IRQL raised", "irql", Misuse::leave_raised},
    };
    for (const auto& each : cases)
        expect(each.name, each.rule, [&] { call(each.misuse); });

    static char good[3 * 4096];
    static const char constant[8] = "const";
    struct {
        const char* name;
        void* address;
        bool write;
        NTSTATUS status;
    } const probes[] = {
        {"good memory", good, true, STATUS_SUCCESS},
        {"NULL", nullptr, false, STATUS_ACCESS_VIOLATION},
        {"an address nobody has", reinterpret_cast<void*>(0x123450000), false,
         STATUS_ACCESS_VIOLATION},
        {"the kernel's range", reinterpret_cast<void*>(0xFFFFF80000000000), false,
         STATUS_ACCESS_VIOLATION},
        {"across the end of the user range", reinterpret_cast<void*>(0x7FFFFFFEFFFC), false,
         STATUS_ACCESS_VIOLATION},
        {"the end of all addresses", reinterpret_cast<void*>(~ULONG_PTR{5}), false,
         STATUS_ACCESS_VIOLATION},
        {"read-only memory, to read", const_cast<char*>(constant), false, STATUS_SUCCESS},
        {"read-only memory, to write", const_cast<char*>(constant), true, STATUS_ACCESS_VIOLATION},
    };
    for (const auto& each : probes) {
        expect(each.name, nullptr, [&] {
            ProbeRequest request{each.address, 8, each.write, 1};
            call(Misuse::probe, &request);
            claim(request.status == each.status, "probing %s gave %08lx", each.name,
                  static_cast<unsigned long>(request.status));
        });
    }
    expect("an injected allocation failure", nullptr, [&] {
        kernel::set_fault_plan({.pool_fail_at = 2});
        ProbeRequest first{}, second{}, third{};
        call(Misuse::allocate_once, &first);
        call(Misuse::allocate_once, &second);
        call(Misuse::allocate_once, &third);
        kernel::set_fault_plan({});
        claim(first.status == 0 && second.status != 0 && third.status == 0,
              "the second allocation alone fails");
    });
    expect("a block never freed", "pool-leak", [&] {
        call(Misuse::leak_pool);
        host.unload();
    });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: verifier_test MISUSE.SYS");
        return 2;
    }
    test_locks();
    test_lock_bounds();
    test_mdls();
    test_services();
    test_devices();
    test_irps();
    test_process_death();
    test_driver(argv[1]);
    test_unloading(argv[1]);
    return report("verifier_test");
}
