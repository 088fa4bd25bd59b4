// SPDX-License-Identifier: LGPL-2.1-or-later
// Each rule of the verifier is broken once on purpose, and must be reported under its name; and
// doing the same thing properly must not be. Usage: verifier_test MISUSE.SYS
#include "lab/kernel/verifier.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/user_memory.h"
#include "lab/process/driver_host.h"
#include "lab/process/irp.h"
#include "lab/process/objects.h"
#include "lab/process/registry.h"
#include "tests/process_host/check.h"
#include "tests/process_host/misuse.h"

using namespace wnbd::lab;
using kernel::Violation;
using process::IrpRecord;
using wnbd::test::claim;

namespace {

struct Fatal {};

/// Runs `wrong` and claims that exactly the rule `expected` was reported (nullptr: none), maybe
/// several times.
void expect(const char* name, const char* expected, const std::function<void()>& wrong) {
    kernel::take_violations();
    const kernel::ThreadState before = {};
    try {
        wrong();
    } catch (const Fatal&) {
    }
    kernel::ThreadState& thread = kernel::this_thread();
    thread.irql = before.irql;
    thread.held_count = 0;
    thread.critical_regions = 0;
    const std::vector<Violation> found = kernel::take_violations();
    if (expected == nullptr) {
        claim(found.empty(), "%s: nothing is wrong, but %s", name,
              found.empty() ? "" : found[0].detail.c_str());
        return;
    }
    claim(!found.empty(), "%s: %s was not reported", name, expected);
    for (const Violation& violation : found) {
        claim(violation.rule == expected, "%s: expected %s, got %s: %s", name, expected,
              violation.rule.c_str(), violation.detail.c_str());
    }
}

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

void test_services() {
    expect("a work item never freed", "work-item-leak", [] {
        IoAllocateWorkItem(nullptr);
        kernel::check_balance();
    });
    expect("a work item queued twice", "work-item-queued", [] {
        static std::atomic<std::uint32_t> go{0};
        // All workers are kept busy, so that the item stays queued.
        for (int index = 0; index < 8; ++index) {
            kernel::queue_worker(
                [](void*) {
                    while (go.load() == 0)
                        os::sleep_ms(1);
                },
                nullptr);
        }
        PIO_WORKITEM const item = IoAllocateWorkItem(nullptr);
        const auto routine = [](PDEVICE_OBJECT, PVOID) NTAPI {};
        IoQueueWorkItem(item, routine, DelayedWorkQueue, nullptr);
        IoQueueWorkItem(item, routine, DelayedWorkQueue, nullptr);
        go.store(1);
        kernel::drain_workers(5000);
        IoFreeWorkItem(item);
    });
    expect("a tracing provider never unregistered", "etw-leak", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        kernel::check_balance();
    });
    expect("a tracing provider unregistered twice", "etw-handle", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        EtwUnregister(handle);
        EtwUnregister(handle);
    });
    expect("a registry key left open", "handle-leak", [] {
        PDRIVER_OBJECT const driver = process::create_driver_object(L"x", nullptr, 0);
        OBJECT_ATTRIBUTES attributes;
        InitializeObjectAttributes(&attributes, process::registry_path_of(driver),
                                   OBJ_KERNEL_HANDLE, nullptr, nullptr);
        HANDLE key = nullptr;
        ZwCreateKey(&key, KEY_READ, &attributes, 0, nullptr, 0, nullptr);
        process::check_registry_balance();
        process::free_driver_object(driver);
    });
    expect("a registry key closed twice", "bad-handle",
           [] { ZwClose(reinterpret_cast<HANDLE>(0x4444)); });
    expect("a device never deleted", "device-leak", [] {
        PDRIVER_OBJECT const driver = process::create_driver_object(L"x", nullptr, 0);
        PDEVICE_OBJECT device = nullptr;
        IoCreateDevice(driver, 8, nullptr, FILE_DEVICE_DISK, 0, FALSE, &device);
        process::check_object_balance();
        IoDeleteDevice(device);
        process::free_driver_object(driver);
    });
    expect("an interface of something that is no PDO", "not-a-pdo", [] {
        static DEVICE_OBJECT device;
        static const GUID interface_class{};
        UNICODE_STRING link;
        IoRegisterDeviceInterface(&device, &interface_class, nullptr, &link);
    });
    expect("an object dereferenced once too often", "bad-object", [] {
        static int nothing;
        ObfDereferenceObject(&nothing);
    });
}

// What the device of the next test does with a device control.
using Dispatch = NTSTATUS (*)(PIRP irp);
Dispatch dispatch_now;

NTSTATUS complete(PIRP irp, NTSTATUS status, ULONG_PTR information) {
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

class ToyDevice {
  public:
    ToyDevice() : driver_(process::create_driver_object(L"toy", nullptr, 0)) {
        const auto fine = [](PDEVICE_OBJECT, PIRP irp)
                              NTAPI -> NTSTATUS { return complete(irp, STATUS_SUCCESS, 0); };
        driver_->MajorFunction[IRP_MJ_CREATE] = fine;
        driver_->MajorFunction[IRP_MJ_CLEANUP] = fine;
        driver_->MajorFunction[IRP_MJ_CLOSE] = fine;
        driver_->MajorFunction[IRP_MJ_DEVICE_CONTROL] =
            [](PDEVICE_OBJECT, PIRP irp) NTAPI -> NTSTATUS { return dispatch_now(irp); };
        IoCreateDevice(driver_, 0, nullptr, FILE_DEVICE_UNKNOWN, 0, FALSE, &device_);
        NTSTATUS status;
        file_ = process::File::open(process_, device_, status);
    }
    ~ToyDevice() {
        if (file_ != nullptr) process::File::close(file_);
        IoDeleteDevice(device_);
        process::free_driver_object(driver_);
    }
    ToyDevice(const ToyDevice&) = delete;
    ToyDevice& operator=(const ToyDevice&) = delete;

    NTSTATUS control(Dispatch dispatch, ULONG output_length) {
        dispatch_now = dispatch;
        char output[64];
        ULONG returned;
        return file_->device_io_control(CTL_CODE(FILE_DEVICE_UNKNOWN, 1, METHOD_BUFFERED, 0),
                                        nullptr, 0, output, output_length, returned);
    }
    process::Process& process() { return process_; }
    /// Its process ended and took the handle with it.
    void handle_is_gone() { file_ = nullptr; }

  private:
    PDRIVER_OBJECT driver_;
    PDEVICE_OBJECT device_ = nullptr;
    process::Process process_{777};
    process::File* file_;
};

void test_irps() {
    ToyDevice toy;
    expect("a device control served well", nullptr, [&] {
        claim(toy.control([](PIRP irp) { return complete(irp, STATUS_SUCCESS, 5); }, 5) ==
                  STATUS_SUCCESS,
              "success");
    });
    expect("a reply longer than its buffer", "information",
           [&] { toy.control([](PIRP irp) { return complete(irp, STATUS_SUCCESS, 6); }, 5); });
    expect("a reply written behind its buffer", "system-buffer", [&] {
        toy.control(
            [](PIRP irp) {
                static_cast<char*>(irp->AssociatedIrp.SystemBuffer)[5] = 0;
                return complete(irp, STATUS_SUCCESS, 5);
            },
            5);
    });
    expect("another status returned than completed", "irp-status", [&] {
        toy.control(
            [](PIRP irp) -> NTSTATUS {
                complete(irp, STATUS_SUCCESS, 0);
                return STATUS_UNSUCCESSFUL;
            },
            5);
    });
    expect("completed with STATUS_PENDING", "irp-status",
           [&] { toy.control([](PIRP irp) { return complete(irp, STATUS_PENDING, 0); }, 5); });
    expect("completed twice", "irp-twice", [&] {
        toy.control(
            [](PIRP irp) {
                complete(irp, STATUS_SUCCESS, 0);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            5);
    });
    expect("completed with a cancel routine", "irp-cancel", [&] {
        toy.control(
            [](PIRP irp) {
                PDRIVER_CANCEL const routine = [](PDEVICE_OBJECT, PIRP) NTAPI {};
                IoSetCancelRoutine(irp, routine);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            5);
    });
    expect("an IRP freed twice", "irp-use-after-free", [] {
        PIRP const irp = IoAllocateIrp(1, FALSE);
        IoFreeIrp(irp);
        IoFreeIrp(irp);
    });
    expect("an IRP sent further than its stack", "irp-stack", [] {
        PIRP const irp = IoAllocateIrp(1, FALSE);
        IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_PNP;
        irp->CurrentLocation = 1;
        IofCallDriver(nullptr, irp);
    });
}

void test_process_death() {
    static KEVENT release;
    static std::atomic<std::uint32_t> inside{0};
    KeInitializeEvent(&release, NotificationEvent, FALSE);
    const auto run = [](Dispatch dispatch, bool alertable) {
        auto* const toy = new ToyDevice;
        inside.store(0);
        dispatch_now = dispatch;
        os::start_thread(
            [](void* context) {
                auto* const device = static_cast<ToyDevice*>(context);
                const process::ProcessScope scope(device->process());
                device->control(dispatch_now, 0);
                inside.store(2);
            },
            toy);
        while (inside.load() == 0)
            os::sleep_ms(1);
        os::sleep_ms(20);
        const bool ended = process::end_process(toy->process(), 300);
        claim(ended == alertable, "a process with a thread in %s wait %s",
              alertable ? "an alertable" : "a deaf",
              alertable ? "can be ended" : "cannot be ended");
        KeSetEvent(&release, 0, FALSE);
        while (inside.load() != 2)
            os::sleep_ms(1);
        if (ended) toy->handle_is_gone();
        delete toy;
    };
    expect("a process ends while it waits alertably", nullptr, [&] {
        run(
            [](PIRP irp) {
                inside.store(1);
                const NTSTATUS status =
                    KeWaitForSingleObject(&release, Executive, KernelMode, TRUE, nullptr);
                claim(status == STATUS_ALERTED, "the wait was alerted: %lx",
                      static_cast<unsigned long>(status));
                return complete(irp, STATUS_CANCELLED, 0);
            },
            true);
    });
    KeClearEvent(&release);
    expect("a process cannot end in a deaf wait", "process-stuck", [&] {
        run(
            [](PIRP irp) {
                inside.store(1);
                KeWaitForSingleObject(&release, Executive, KernelMode, FALSE, nullptr);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            false);
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
        {"a block freed twice", "double-free", Misuse::free_twice},
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
    kernel::set_violations_quiet(true);
    kernel::set_fatal_hook([] { throw Fatal{}; });
    test_locks();
    test_mdls();
    test_services();
    test_irps();
    test_process_death();
    test_driver(argv[1]);
    return wnbd::test::report("verifier_test");
}
