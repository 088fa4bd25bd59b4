// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/irp.h"

#include <cstddef>
#include <cstring>
#include <deque>
#include <mutex>

#include "lab/kernel/os.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/verifier.h"
#include "lab/process/objects.h"

namespace wnbd::lab::process {
namespace {

using kernel::fatal_violation;
using kernel::this_thread;
using kernel::violation;
using State = IrpRecord::State;

static_assert(offsetof(IrpRecord, irp) == 0 && offsetof(IrpRecord, stack) == sizeof(IRP));
constexpr std::size_t quarantine_irps = 128;
constexpr ULONG lab_tag = 0x2062614C;

struct Store {
    os::Mutex mutex;
    std::deque<IrpRecord*> freed;
    std::atomic<std::int64_t> outstanding{0};
    std::atomic<std::uint32_t> cancel_lock{0};
};
Store& store() {
    static Store* const instance = new Store;
    return *instance;
}

/// The end of an IRP that a driver built with IoBuildDeviceIoControlRequest.
void finish_threaded(IrpRecord& record) {
    IRP& irp = record.irp;
    if (record.system_buffer != nullptr && record.caller_output != nullptr &&
        !NT_ERROR(irp.IoStatus.Status)) {
        ULONG_PTR bytes = irp.IoStatus.Information;
        if (bytes > record.caller_output_length) {
            violation("information", "IRP %p: Information %llu with an output buffer of %lu bytes",
                      static_cast<void*>(&irp), static_cast<unsigned long long>(bytes),
                      static_cast<unsigned long>(record.caller_output_length));
            bytes = record.caller_output_length;
        }
        std::memcpy(record.caller_output, record.system_buffer, bytes);
    }
    if (irp.UserIosb != nullptr) *irp.UserIosb = irp.IoStatus;
    PKEVENT const event = irp.UserEvent;
    free_irp(&record);
    if (event != nullptr) KeSetEvent(event, IO_NO_INCREMENT, FALSE);
}

bool wants(const IO_STACK_LOCATION& location, const IRP& irp) {
    if (location.CompletionRoutine == nullptr) return false;
    if (irp.Cancel && (location.Control & SL_INVOKE_ON_CANCEL) != 0) return true;
    return (location.Control &
            (NT_SUCCESS(irp.IoStatus.Status) ? SL_INVOKE_ON_SUCCESS : SL_INVOKE_ON_ERROR)) != 0;
}

/// Runs the completion routines from the current location up. False: one of them took the IRP back.
bool run_completion_routines(IRP& irp) {
    while (irp.CurrentLocation <= irp.StackCount) {
        IO_STACK_LOCATION& below = *irp.Tail.Overlay.CurrentStackLocation;
        irp.PendingReturned = (below.Control & SL_PENDING_RETURNED) != 0;
        ++irp.CurrentLocation;
        ++irp.Tail.Overlay.CurrentStackLocation;
        const bool top = irp.CurrentLocation > irp.StackCount;
        if (wants(below, irp)) {
            PDEVICE_OBJECT const device =
                top ? nullptr : irp.Tail.Overlay.CurrentStackLocation->DeviceObject;
            if (below.CompletionRoutine(device, &irp, below.Context) ==
                STATUS_MORE_PROCESSING_REQUIRED)
                return false;
        } else if (irp.PendingReturned && !top) {
            irp.Tail.Overlay.CurrentStackLocation->Control |= SL_PENDING_RETURNED;
        }
    }
    return true;
}

void check_completion(IrpRecord& record) {
    IRP& irp = record.irp;
    if (irp.IoStatus.Status == STATUS_PENDING) {
        violation("irp-status", "IRP %p is completed with STATUS_PENDING",
                  static_cast<void*>(&irp));
    }
    if (irp.CancelRoutine != nullptr) {
        violation("irp-cancel", "IRP %p is completed with a cancel routine set",
                  static_cast<void*>(&irp));
    }
    if (record.state.load() == State::completed) {
        fatal_violation("irp-twice", "IRP %p is completed a second time", static_cast<void*>(&irp));
    }
}

}  // namespace

IrpRecord* allocate_irp(CCHAR stack_size, bool) {
    if (stack_size < 1 || stack_size > IrpRecord::stack_max) return nullptr;
    IrpRecord* record = nullptr;
    {
        Store& all = store();
        const std::lock_guard guard(all.mutex);
        if (all.freed.size() >= quarantine_irps) {
            record = all.freed.front();
            all.freed.pop_front();
        }
    }
    if (record == nullptr) record = new IrpRecord;
    IRP& irp = record->irp;
    std::memset(static_cast<void*>(&irp), 0, sizeof irp);
    std::memset(static_cast<void*>(record->stack), 0, sizeof record->stack);
    irp.Type = 6;  // IO_TYPE_IRP
    irp.Size = static_cast<USHORT>(sizeof(IRP) +
                                   static_cast<unsigned>(stack_size) * sizeof(IO_STACK_LOCATION));
    irp.StackCount = stack_size;
    irp.CurrentLocation = static_cast<CHAR>(stack_size + 1);
    irp.Tail.Overlay.CurrentStackLocation = record->stack + stack_size;
    irp.Tail.Overlay.Thread = reinterpret_cast<PETHREAD>(&this_thread());
    record->process_id = this_thread().process_id;
    record->done.store(0);
    record->free_when_done = false;
    record->caller_output = record->system_buffer = nullptr;
    record->state.store(State::allocated);
    return record;
}

void free_irp(IrpRecord* record) {
    const State before = record->state.exchange(State::freed);
    if (before == State::freed)
        fatal_violation("irp-free", "IRP %p is freed twice", static_cast<void*>(record));
    if (before == State::sent)
        fatal_violation("irp-free", "IRP %p is freed while it is out", static_cast<void*>(record));
    if (record->system_buffer != nullptr) kernel::pool_free(record->system_buffer, lab_tag);
    record->system_buffer = nullptr;
    const std::lock_guard guard(store().mutex);
    store().freed.push_back(record);
}

IrpRecord* record_of(PIRP irp, const char* function) {
    auto* const record = reinterpret_cast<IrpRecord*>(irp);
    if (record->state.load() == State::freed) {
        fatal_violation("irp-use-after-free", "%s of IRP %p, which was freed", function,
                        static_cast<void*>(irp));
    }
    return record;
}

PIO_STACK_LOCATION first_location(IrpRecord& record, UCHAR major, UCHAR minor) {
    PIO_STACK_LOCATION const location = IoGetNextIrpStackLocation(&record.irp);
    location->MajorFunction = major;
    location->MinorFunction = minor;
    return location;
}

NTSTATUS send_and_wait(PDEVICE_OBJECT device, IrpRecord& record) {
    const UCHAR major = IoGetNextIrpStackLocation(&record.irp)->MajorFunction;
    const NTSTATUS status = IofCallDriver(device, &record.irp);
    if (status != STATUS_PENDING && record.done.load(std::memory_order_acquire) == 0) {
        // Wait for it nevertheless: a lost completion then shows as a hang at a named place.
        violation("irp-status", "major %02x returned %08lx before it completed the IRP", major,
                  static_cast<unsigned long>(status));
    }
    while (record.done.load(std::memory_order_acquire) == 0)
        os::wait_on(&record.done, 0, -1);
    const NTSTATUS final = record.irp.IoStatus.Status;
    if (status != STATUS_PENDING && status != final) {
        violation("irp-status", "major %02x returned %08lx, the IRP says %08lx", major,
                  static_cast<unsigned long>(status), static_cast<unsigned long>(final));
    }
    if (status == STATUS_PENDING && !record.irp.PendingReturned) {
        violation("irp-status", "major %02x returned STATUS_PENDING for an IRP not marked pending",
                  major);
    }
    return final;
}

std::int64_t irps_outstanding() noexcept {
    return store().outstanding.load();
}

}  // namespace wnbd::lab::process

using namespace wnbd::lab;
using namespace wnbd::lab::process;

extern "C" {

NTSTATUS FASTCALL lab_IofCallDriver(PDEVICE_OBJECT device, PIRP irp) {
    kernel::require_irql_at_most(DISPATCH_LEVEL, "IofCallDriver");
    IrpRecord* const record = record_of(irp, "IofCallDriver");
    if (--irp->CurrentLocation <= 0) {
        kernel::fatal_violation("irp-stack", "IRP %p has no stack location left",
                                static_cast<void*>(irp));
    }
    PIO_STACK_LOCATION const location = --irp->Tail.Overlay.CurrentStackLocation;
    location->DeviceObject = device;
    IrpRecord::State fresh = IrpRecord::State::allocated;
    if (record->state.compare_exchange_strong(fresh, IrpRecord::State::sent))
        store().outstanding.fetch_add(1);
    const kernel::CallbackGuard guard("a dispatch routine");
    return device->DriverObject->MajorFunction[location->MajorFunction](device, irp);
}

VOID FASTCALL lab_IofCompleteRequest(PIRP irp, CCHAR) {
    kernel::require_irql_at_most(DISPATCH_LEVEL, "IofCompleteRequest");
    IrpRecord& record = *record_of(irp, "IofCompleteRequest");
    check_completion(record);
    if (!run_completion_routines(*irp)) return;
    record.state.store(IrpRecord::State::completed);
    store().outstanding.fetch_sub(1);
    if (record.free_when_done) {
        finish_threaded(record);
        return;
    }
    record.done.store(1, std::memory_order_release);
    os::wake_all(&record.done);
}

PIRP NTAPI lab_IoAllocateIrp(CCHAR stack_size, BOOLEAN quota) {
    IrpRecord* const record = allocate_irp(stack_size, quota != FALSE);
    return record == nullptr ? nullptr : &record->irp;
}

VOID NTAPI lab_IoFreeIrp(PIRP irp) {
    free_irp(record_of(irp, "IoFreeIrp"));
}

PIRP NTAPI lab_IoBuildDeviceIoControlRequest(ULONG code, PDEVICE_OBJECT device, PVOID input,
                                             ULONG input_length, PVOID output, ULONG output_length,
                                             BOOLEAN internal, PKEVENT event,
                                             PIO_STATUS_BLOCK status_block) {
    kernel::require_irql_at_most(PASSIVE_LEVEL, "IoBuildDeviceIoControlRequest");
    if ((code & 3) != METHOD_BUFFERED) return nullptr;
    if (kernel::is_driver(__builtin_return_address(0)) &&
        kernel::should_fail(kernel::FaultPoint::pool))
        return nullptr;
    IrpRecord* const record = allocate_irp(device->StackSize, false);
    if (record == nullptr) return nullptr;
    const ULONG bytes = input_length > output_length ? input_length : output_length;
    if (bytes != 0) {
        record->system_buffer = kernel::pool_allocate(bytes, 0x2062614C, false);
        if (record->system_buffer == nullptr) {
            free_irp(record);
            return nullptr;
        }
        if (input != nullptr) std::memcpy(record->system_buffer, input, input_length);
    }
    record->free_when_done = true;
    record->caller_output = output;
    record->caller_output_length = output_length;
    IRP& irp = record->irp;
    irp.AssociatedIrp.SystemBuffer = record->system_buffer;
    irp.UserEvent = event;
    irp.UserIosb = status_block;
    PIO_STACK_LOCATION const location = first_location(
        *record, internal ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL, 0);
    location->Parameters.DeviceIoControl.IoControlCode = code;
    location->Parameters.DeviceIoControl.InputBufferLength = input_length;
    location->Parameters.DeviceIoControl.OutputBufferLength = output_length;
    return &irp;
}

VOID NTAPI lab_IoAcquireCancelSpinLock(PKIRQL irql) {
    *irql = kernel::this_thread().irql;
    kernel::this_thread().irql = DISPATCH_LEVEL;
    while (store().cancel_lock.exchange(1, std::memory_order_acquire) != 0)
        os::yield();
}

VOID NTAPI lab_IoReleaseCancelSpinLock(KIRQL irql) {
    if (store().cancel_lock.exchange(0, std::memory_order_release) == 0) {
        kernel::violation("lock-not-held",
                          "IoReleaseCancelSpinLock without IoAcquireCancelSpinLock");
    }
    kernel::this_thread().irql = irql;
}

BOOLEAN NTAPI lab_IoCancelIrp(PIRP irp) {
    KIRQL old;
    lab_IoAcquireCancelSpinLock(&old);
    irp->Cancel = TRUE;
    PDRIVER_CANCEL const routine = IoSetCancelRoutine(irp, nullptr);
    if (routine == nullptr) {
        lab_IoReleaseCancelSpinLock(old);
        return FALSE;
    }
    irp->CancelIrql = old;
    PIO_STACK_LOCATION const location = IoGetCurrentIrpStackLocation(irp);
    routine(irp->CurrentLocation > irp->StackCount ? nullptr : location->DeviceObject, irp);
    return TRUE;
}

ULONG NTAPI lab_IoGetRequestorProcessId(PIRP irp) {
    return static_cast<ULONG>(record_of(irp, "IoGetRequestorProcessId")->process_id);
}

HANDLE NTAPI lab_PsGetCurrentProcessId() {
    return reinterpret_cast<HANDLE>(kernel::this_thread().process_id);
}
HANDLE NTAPI lab_PsGetCurrentThreadId() {
    return reinterpret_cast<HANDLE>(static_cast<ULONG_PTR>(kernel::this_thread().thread_id));
}
KPROCESSOR_MODE NTAPI lab_ExGetPreviousMode() {
    return kernel::this_thread().process != nullptr ? static_cast<KPROCESSOR_MODE>(UserMode)
                                                    : static_cast<KPROCESSOR_MODE>(KernelMode);
}

}  // extern "C"
