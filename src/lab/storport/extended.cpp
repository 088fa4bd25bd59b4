// SPDX-License-Identifier: LGPL-2.1-or-later
// StorPortExtendedFunction: the codes that a virtual miniport may use; all others are
// NOT_IMPLEMENTED, as on a Windows too old for them.
#include <chrono>
#include <cstdarg>
#include <cstring>
#include <thread>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"
#include "lab/storport/timers.h"

using namespace wnbd::lab;

namespace {

ULONG allocate_pool(void* extension, va_list& arguments) {
    const ULONG bytes = va_arg(arguments, ULONG);
    const ULONG tag = va_arg(arguments, ULONG);
    PVOID* const buffer = va_arg(arguments, PVOID*);
    if (bytes == 0 || buffer == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    Adapter* const adapter = adapter_of(extension);
    const bool fail = adapter != nullptr && adapter->inject_failure();
    *buffer = fail ? nullptr : ExAllocatePoolWithTag(NonPagedPool, bytes, tag);
    return *buffer != nullptr ? STOR_STATUS_SUCCESS : STOR_STATUS_INSUFFICIENT_RESOURCES;
}

ULONG system_address(void* extension, va_list& arguments) {
    void* const srb = va_arg(arguments, PVOID);
    PVOID* const address = va_arg(arguments, PVOID*);
    Adapter* const adapter = adapter_of(extension);
    if (adapter == nullptr || address == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    if (host().current_irql() > DISPATCH_LEVEL)
        report_violation("IRQL", "StorPortGetSystemAddress above DISPATCH_LEVEL");
    return adapter->system_address(srb, address);
}

ULONG complete_service_irp(void* extension, va_list& arguments) {
    PIRP const irp = va_arg(arguments, PIRP);
    if (irp == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    if (FunctionalDevice* const device = device_of(extension)) await_departures(*device);
    IofCompleteRequest(irp, IO_NO_INCREMENT);
    return STOR_STATUS_SUCCESS;
}

ULONG device_objects(void* extension, va_list& arguments) {
    PVOID* const adapter = va_arg(arguments, PVOID*);
    PVOID* const physical = va_arg(arguments, PVOID*);
    PVOID* const lower = va_arg(arguments, PVOID*);
    const FunctionalDevice* const device = device_of(extension);
    if (device == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    if (adapter != nullptr) *adapter = device->self;
    if (physical != nullptr) *physical = device->pdo;
    if (lower != nullptr) *lower = device->lower;
    return STOR_STATUS_SUCCESS;
}

ULONG allocate_mdl(va_list& arguments) {
    PVOID const buffer = va_arg(arguments, PVOID);
    const ULONG bytes = va_arg(arguments, ULONG);
    PVOID* const mdl = va_arg(arguments, PVOID*);
    if (buffer == nullptr || mdl == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    *mdl = IoAllocateMdl(buffer, bytes, FALSE, FALSE, nullptr);
    return *mdl != nullptr ? STOR_STATUS_SUCCESS : STOR_STATUS_INSUFFICIENT_RESOURCES;
}

ULONG performance_counter(va_list& arguments) {
    auto* const frequency = va_arg(arguments, LARGE_INTEGER*);
    auto* const counter = va_arg(arguments, LARGE_INTEGER*);
    using Nanoseconds = std::chrono::nanoseconds;
    if (frequency != nullptr) frequency->QuadPart = Nanoseconds::period::den;
    if (counter == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    counter->QuadPart =
        std::chrono::duration_cast<Nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    return STOR_STATUS_SUCCESS;
}

ULONG port_number(void* extension, va_list& arguments) {
    auto* const address = va_arg(arguments, STOR_ADDRESS*);
    const FunctionalDevice* const device = device_of(extension);
    if (device == nullptr || address == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    address->Port = device->port_number;
    return STOR_STATUS_SUCCESS;
}

ULONG timer_or_worker(STORPORT_FUNCTION_CODE code, void* extension, va_list& arguments) {
    switch (code) {
        case ExtFunctionInitializeWorker: return initialize_worker(va_arg(arguments, PVOID*));
        case ExtFunctionInitializeTimer: return initialize_timer(va_arg(arguments, PVOID*));
        case ExtFunctionFreeWorker: return free_worker(va_arg(arguments, PVOID));
        case ExtFunctionFreeTimer: return free_timer(va_arg(arguments, PVOID));
        case ExtFunctionQueueWorkItem: {
            auto* const routine = va_arg(arguments, PHW_WORKITEM);
            PVOID const worker = va_arg(arguments, PVOID);
            return queue_worker(extension, routine, worker, va_arg(arguments, PVOID));
        }
        case ExtFunctionRequestTimer: {
            PVOID const timer = va_arg(arguments, PVOID);
            auto* const routine = va_arg(arguments, PHW_TIMER_EX);
            PVOID const context = va_arg(arguments, PVOID);
            return request_timer(extension, timer, routine, context, va_arg(arguments, ULONGLONG));
        }
        default: return STOR_STATUS_NOT_IMPLEMENTED;
    }
}

ULONG delay(va_list& arguments) {
    const ULONG microseconds = va_arg(arguments, ULONG);
    if (host().current_irql() > PASSIVE_LEVEL) return STOR_STATUS_INVALID_IRQL;
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    return STOR_STATUS_SUCCESS;
}

ULONG dispatch(STORPORT_FUNCTION_CODE code, void* extension, va_list& arguments) {
    switch (code) {
        case ExtFunctionAllocatePool: return allocate_pool(extension, arguments);
        case ExtFunctionFreePool:
            ExFreePoolWithTag(va_arg(arguments, PVOID), 0);
            return STOR_STATUS_SUCCESS;
        case ExtFunctionAllocateMdl: return allocate_mdl(arguments);
        case ExtFunctionFreeMdl: IoFreeMdl(va_arg(arguments, PMDL)); return STOR_STATUS_SUCCESS;
        case ExtFunctionBuildMdlForNonPagedPool:
            MmBuildMdlForNonPagedPool(va_arg(arguments, PMDL));
            return STOR_STATUS_SUCCESS;
        case ExtFunctionGetSystemAddress: return system_address(extension, arguments);
        case ExtFunctionCompleteServiceIrp: return complete_service_irp(extension, arguments);
        case ExtFunctionGetDeviceObjects: return device_objects(extension, arguments);
        case ExtFunctionGetActivityIdSrb: {
            va_arg(arguments, PVOID);
            auto* const id = va_arg(arguments, GUID*);
            if (id == nullptr) return STOR_STATUS_INVALID_PARAMETER;
            std::memset(id, 0, sizeof *id);
            return STOR_STATUS_SUCCESS;
        }
        case ExtFunctionGetSystemPortNumber: return port_number(extension, arguments);
        case ExtFunctionSetUnitAttributes: return STOR_STATUS_SUCCESS;
        case ExtFunctionQueryPerformanceCounter: return performance_counter(arguments);
        case ExtFunctionDelayExecution: return delay(arguments);
        case ExtFunctionGetProcessorCount:
            *va_arg(arguments, ULONG*) = std::thread::hardware_concurrency();
            return STOR_STATUS_SUCCESS;
        default: return timer_or_worker(code, extension, arguments);
    }
}

}  // namespace

ULONG StorPortExtendedFunction(STORPORT_FUNCTION_CODE code, PVOID extension, ...) {
    va_list arguments;
    va_start(arguments, extension);
    const ULONG status = dispatch(code, extension, arguments);
    va_end(arguments);
    return status;
}
