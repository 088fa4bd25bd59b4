// SPDX-License-Identifier: LGPL-2.1-or-later
// PnP of the adapter's functional device, and what a PnP manager's stand-in may ask of it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr ULONG kPoolTag = 0x6C705453;

struct LinkNames {
    std::u16string link;
    std::u16string target;
};

LinkNames link_names(std::uint8_t port) {
    const std::string number = std::to_string(port);
    const std::u16string wide(number.begin(), number.end());
    return {u"\\DosDevices\\Scsi" + wide + u":", u"\\Device\\RaidPort" + wide};
}

void make_link(std::uint8_t port) {
    const LinkNames names = link_names(port);
    UNICODE_STRING link;
    UNICODE_STRING target;
    RtlInitUnicodeString(&link, reinterpret_cast<PCWSTR>(names.link.c_str()));
    RtlInitUnicodeString(&target, reinterpret_cast<PCWSTR>(names.target.c_str()));
    const NTSTATUS status = IoCreateSymbolicLink(&link, &target);
    if (!NT_SUCCESS(status)) DbgPrint("storport: no link for port %u: %lx\n", port, status);
}

void delete_link(std::uint8_t port) {
    const LinkNames names = link_names(port);
    UNICODE_STRING link;
    RtlInitUnicodeString(&link, reinterpret_cast<PCWSTR>(names.link.c_str()));
    IoDeleteSymbolicLink(&link);
}

NTSTATUS start(FunctionalDevice& device, PIRP irp) {
    NTSTATUS status = forward_and_wait(device.lower, irp);
    if (NT_SUCCESS(status)) status = start_adapter(device);
    if (NT_SUCCESS(status)) {
        make_link(device.port_number);
        IoInvalidateDeviceRelations(device.pdo, BusRelations);
    }
    return complete(irp, status);
}

/// The children go first: a bus that is gone has no units. Each gets its last REMOVE_DEVICE from
/// PnP afterwards or has had it; here the lab only forgets those that PnP never heard of.
NTSTATUS remove(FunctionalDevice& device, PIRP irp) {
    for (PhysicalDevice* unit : device.units)
        unit->missing = true;
    stop_adapter(device);
    if (device.disabling) return complete(irp, STATUS_SUCCESS);
    delete_link(device.port_number);
    irp->IoStatus.Status = STATUS_SUCCESS;
    IoSkipCurrentIrpStackLocation(irp);
    PDEVICE_OBJECT const self = device.self;
    PDEVICE_OBJECT const lower = device.lower;
    ObReferenceObject(lower);
    const NTSTATUS status = IofCallDriver(lower, irp);
    IoDetachDevice(lower);
    ObDereferenceObject(lower);
    unregister_device(device);
    for (PhysicalDevice* unit : device.units)
        unit->parent = nullptr;
    device.~FunctionalDevice();
    IoDeleteDevice(self);
    return status;
}

NTSTATUS bus_relations(FunctionalDevice& device, PIRP irp) {
    scan_bus(device);
    const std::lock_guard lock(device.units_mutex);
    std::vector<PhysicalDevice*> present;
    for (PhysicalDevice* unit : device.units)
        if (!unit->missing) present.push_back(unit);
    const std::size_t size = sizeof(DEVICE_RELATIONS) + present.size() * sizeof(PDEVICE_OBJECT);
    auto* const relations =
        static_cast<DEVICE_RELATIONS*>(ExAllocatePoolWithTag(PagedPool, size, kPoolTag));
    if (relations == nullptr) return complete(irp, STATUS_INSUFFICIENT_RESOURCES);
    relations->Count = 0;
    for (PhysicalDevice* unit : present) {
        ObReferenceObject(unit->self);
        relations->Objects[relations->Count++] = unit->self;
        unit->reported = true;
    }
    std::erase_if(device.units, [](const PhysicalDevice* unit) { return unit->missing.load(); });
    irp->IoStatus.Status = STATUS_SUCCESS;
    irp->IoStatus.Information = reinterpret_cast<ULONG_PTR>(relations);
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(device.lower, irp);
}

NTSTATUS NTAPI pnp_done(PDEVICE_OBJECT, PIRP, PVOID event) {
    KeSetEvent(static_cast<PKEVENT>(event), IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

bool same_name(std::u16string_view a, std::u16string_view b) {
    const auto lower = [](char16_t c) { return c >= u'A' && c <= u'Z' ? char16_t(c + 32) : c; };
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(),
                      [&](char16_t x, char16_t y) { return lower(x) == lower(y); });
}

}  // namespace

NTSTATUS functional_pnp(FunctionalDevice& device, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    switch (stack->MinorFunction) {
        case IRP_MN_START_DEVICE: return start(device, irp);
        case IRP_MN_REMOVE_DEVICE: return remove(device, irp);
        case IRP_MN_QUERY_DEVICE_RELATIONS:
            if (stack->Parameters.QueryDeviceRelations.Type == BusRelations)
                return bus_relations(device, irp);
            break;
        case IRP_MN_SURPRISE_REMOVAL:
            for (PhysicalDevice* unit : device.units)
                unit->missing = true;
            [[fallthrough]];
        case IRP_MN_QUERY_REMOVE_DEVICE:
        case IRP_MN_CANCEL_REMOVE_DEVICE:
        case IRP_MN_QUERY_STOP_DEVICE:
        case IRP_MN_CANCEL_STOP_DEVICE:
            if (device.disabling) return complete(irp, STATUS_SUCCESS);
            irp->IoStatus.Status = STATUS_SUCCESS;
            break;
        case IRP_MN_STOP_DEVICE:
            stop_adapter(device);
            irp->IoStatus.Status = STATUS_SUCCESS;
            break;
        default: break;
    }
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(device.lower, irp);
}

NTSTATUS send_pnp(PDEVICE_OBJECT device, UCHAR minor) {
    PDEVICE_OBJECT const top = IoGetAttachedDeviceReference(device);
    PIRP const irp = IoAllocateIrp(top->StackSize, FALSE);
    if (irp == nullptr) {
        ObDereferenceObject(top);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    KEVENT done;
    KeInitializeEvent(&done, NotificationEvent, FALSE);
    irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    irp->RequestorMode = KernelMode;
    PIO_STACK_LOCATION const next = IoGetNextIrpStackLocation(irp);
    next->MajorFunction = IRP_MJ_PNP;
    next->MinorFunction = minor;
    IoSetCompletionRoutine(irp, pnp_done, &done, TRUE, TRUE, TRUE);
    if (IofCallDriver(top, irp) == STATUS_PENDING)
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, nullptr);
    const NTSTATUS status = irp->IoStatus.Status;
    IoFreeIrp(irp);
    ObDereferenceObject(top);
    return status;
}

std::vector<UnitState> units(PDEVICE_OBJECT functional_device) {
    auto& device = *static_cast<FunctionalDevice*>(functional_device->DeviceExtension);
    const std::lock_guard lock(device.units_mutex);
    std::vector<UnitState> found;
    for (PhysicalDevice* unit : device.units)
        if (!unit->missing) found.push_back({unit->identity, unit->self, unit->removed});
    return found;
}

RemoveOutcome query_and_remove(PDEVICE_OBJECT functional_device, std::u16string_view path) {
    for (const UnitState& unit : units(functional_device)) {
        if (!same_name(unit.identity.path(), path)) continue;
        if (unit.removed) return RemoveOutcome::Removed;
        if (!NT_SUCCESS(send_pnp(unit.physical_device, IRP_MN_QUERY_REMOVE_DEVICE))) {
            send_pnp(unit.physical_device, IRP_MN_CANCEL_REMOVE_DEVICE);
            return RemoveOutcome::Vetoed;
        }
        send_pnp(unit.physical_device, IRP_MN_REMOVE_DEVICE);
        return RemoveOutcome::Removed;
    }
    return RemoveOutcome::NoSuchDevice;
}

RemoveOutcome disable_adapter(PDEVICE_OBJECT functional_device) {
    auto& device = *static_cast<FunctionalDevice*>(functional_device->DeviceExtension);
    if (!device.adapter) return RemoveOutcome::NoSuchDevice;
    const std::vector<UnitState> all = units(functional_device);
    std::size_t agreed = 0;
    while (agreed < all.size() &&
           NT_SUCCESS(send_pnp(all[agreed].physical_device, IRP_MN_QUERY_REMOVE_DEVICE)))
        ++agreed;
    device.disabling = true;
    if (agreed < all.size() ||
        !NT_SUCCESS(send_pnp(functional_device, IRP_MN_QUERY_REMOVE_DEVICE))) {
        for (std::size_t i = 0; i <= agreed && i < all.size(); ++i)
            send_pnp(all[i].physical_device, IRP_MN_CANCEL_REMOVE_DEVICE);
        send_pnp(functional_device, IRP_MN_CANCEL_REMOVE_DEVICE);
        device.disabling = false;
        return RemoveOutcome::Vetoed;
    }
    for (const UnitState& unit : all)
        send_pnp(unit.physical_device, IRP_MN_REMOVE_DEVICE);
    send_pnp(functional_device, IRP_MN_REMOVE_DEVICE);
    device.disabling = false;
    IoInvalidateDeviceRelations(device.pdo, BusRelations);
    return RemoveOutcome::Removed;
}

/// REMOVE_DEVICE would follow when the last handle is closed: until then it takes calls.
void surprise_adapter(PDEVICE_OBJECT functional_device) {
    auto& device = *static_cast<FunctionalDevice*>(functional_device->DeviceExtension);
    for (const UnitState& unit : units(functional_device))
        send_pnp(unit.physical_device, IRP_MN_SURPRISE_REMOVAL);
    device.disabling = true;
    send_pnp(functional_device, IRP_MN_SURPRISE_REMOVAL);
    device.disabling = false;
}

NTSTATUS enable_adapter(PDEVICE_OBJECT functional_device) {
    auto& device = *static_cast<FunctionalDevice*>(functional_device->DeviceExtension);
    const NTSTATUS status = start_adapter(device);
    if (NT_SUCCESS(status)) IoInvalidateDeviceRelations(device.pdo, BusRelations);
    return status;
}

void request_rescan(Adapter& adapter) {
    auto& device = *static_cast<FunctionalDevice*>(adapter.fdo->DeviceExtension);
    IoInvalidateDeviceRelations(device.pdo, BusRelations);
}

}  // namespace wnbd::lab
