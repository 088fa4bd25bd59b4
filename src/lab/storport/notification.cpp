// SPDX-License-Identifier: LGPL-2.1-or-later
// What a miniport calls: StorPortNotification and the small exports.
#include <cstdarg>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"
#include "lab/storport/timers.h"

using namespace wnbd::lab;

namespace {

constexpr std::uint8_t kAny = 0xFF;

void request_complete(void* extension, void* srb) {
    if (host().current_irql() > DISPATCH_LEVEL)
        report_violation("IRQL", "RequestComplete above DISPATCH_LEVEL");
    Adapter* const adapter = adapter_of(extension);
    if (adapter == nullptr)
        return report_violation("RequestComplete without an adapter", "extension %p, SRB %p",
                                extension, srb);
    adapter->complete_srb(srb);
}

void bus_changed(FunctionalDevice& device) {
    if (host().current_irql() > DISPATCH_LEVEL)
        report_violation("IRQL", "BusChangeDetected above DISPATCH_LEVEL");
    note_bus_change();
    IoInvalidateDeviceRelations(device.pdo, BusRelations);
}

/// The fine-grained form ends in the same scan; the callback tells the miniport that it was taken.
void state_changed(FunctionalDevice& device, va_list arguments) {
    va_arg(arguments, ULONG);
    void* const address = va_arg(arguments, PVOID);
    va_arg(arguments, ULONG);
    auto* const callback = va_arg(arguments, PHW_STATE_CHANGE);
    void* const context = va_arg(arguments, PVOID);
    ULONG* const status = va_arg(arguments, ULONG*);
    if (status != nullptr) *status = STOR_STATUS_SUCCESS;
    bus_changed(device);
    if (callback != nullptr)
        callback(device.hw_extension, context, static_cast<SHORT>(STOR_ADDRESS_TYPE_BTL8), address,
                 STOR_STATUS_SUCCESS);
}

}  // namespace

VOID StorPortNotification(SCSI_NOTIFICATION_TYPE type, PVOID extension, ...) {
    FunctionalDevice* const device = device_of(extension);
    if (device == nullptr)
        return report_violation("notification without an adapter", "type %x, extension %p", type,
                                extension);
    va_list arguments;
    va_start(arguments, extension);
    switch (type) {
        case RequestComplete:
        case RequestDirectComplete: request_complete(extension, va_arg(arguments, PVOID)); break;
        case BusChangeDetected: bus_changed(*device); break;
        case StateChangeDetectedCall: state_changed(*device, arguments); break;
        case RequestTimerCall: {
            auto* const routine = va_arg(arguments, PHW_TIMER);
            request_miniport_timer(extension, routine, va_arg(arguments, ULONG));
            break;
        }
        case QueryTickCount: KeQueryTickCount(va_arg(arguments, LARGE_INTEGER*)); break;
        case EnablePassiveInitialization: {
            device->passive_initialize = va_arg(arguments, PHW_PASSIVE_INITIALIZE_ROUTINE);
            BOOLEAN* const taken = va_arg(arguments, BOOLEAN*);
            if (taken != nullptr) *taken = TRUE;
            break;
        }
        case NextRequest:
        case NextLuRequest:
        case ResetDetected:
        case LinkUp:
        case LinkDown:
        case IoTargetRequestServiceTime: break;
        default: report_violation("notification unknown to the lab", "type %x", type); break;
    }
    va_end(arguments);
}

VOID NTAPI StorPortCompleteRequest(PVOID extension, UCHAR path, UCHAR target, UCHAR lun,
                                   UCHAR srb_status) {
    Adapter* const adapter = adapter_of(extension);
    if (adapter != nullptr) adapter->complete_all(path, target, lun, srb_status);
}

BOOLEAN NTAPI StorPortSetDeviceQueueDepth(PVOID extension, UCHAR path, UCHAR target, UCHAR lun,
                                          ULONG depth) {
    Adapter* const adapter = adapter_of(extension);
    if (adapter == nullptr || path == kAny || target == kAny || lun == kAny) return FALSE;
    return adapter->set_depth(Address{path, target, lun}, depth) ? TRUE : FALSE;
}
