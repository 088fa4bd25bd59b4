// SPDX-License-Identifier: LGPL-2.1-or-later
// A unit's physical device: PnP identification, capabilities, start and removal, and the few ioctls
// that the bottom of a disk's stack answers.
#include <cstring>
#include <string>

#include "lab/ddk/disk_ioctls.h"
#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr ULONG kPoolTag = 0x6C705453;

void send_pnp_srb(PhysicalDevice& device, STOR_PNP_ACTION action, void* data, std::uint32_t length,
                  std::uint8_t* srb_status) {
    const std::shared_ptr<Adapter> adapter =
        device.parent != nullptr ? device.parent->adapter : nullptr;
    if (!adapter) return;
    Request request;
    request.address = device.identity.address;
    request.function = SRB_FUNCTION_PNP;
    request.pnp_action = static_cast<std::uint32_t>(action);
    request.direction = length != 0 ? Direction::In : Direction::None;
    request.data = data;
    request.data_length = length;
    adapter->execute(request);
    if (srb_status != nullptr) *srb_status = request.srb_status;
}

PhysicalDevice& physical_device(PDEVICE_OBJECT device) {
    return *static_cast<PhysicalDevice*>(device->DeviceExtension);
}

/// Strings to a pool block as PnP wants them: each terminated, a list twice.
NTSTATUS give_strings(PIRP irp, const std::vector<std::u16string>& strings, bool list) {
    std::u16string all;
    for (const std::u16string& text : strings)
        all += text + u'\0';
    if (list) all += u'\0';
    const std::size_t bytes = all.size() * sizeof(char16_t);
    void* const block = ExAllocatePoolWithTag(PagedPool, bytes, kPoolTag);
    if (block == nullptr) return complete(irp, STATUS_INSUFFICIENT_RESOURCES);
    std::memcpy(block, all.data(), bytes);
    return complete(irp, STATUS_SUCCESS, reinterpret_cast<ULONG_PTR>(block));
}

NTSTATUS query_id(PhysicalDevice& device, PIRP irp) {
    const UnitIdentity& unit = device.identity;
    switch (IoGetCurrentIrpStackLocation(irp)->Parameters.QueryId.IdType) {
        case BusQueryDeviceID: return give_strings(irp, {unit.device_id}, false);
        case BusQueryInstanceID: return give_strings(irp, {unit.instance_id}, false);
        case BusQueryHardwareIDs: {
            const auto padded = [&](std::size_t at, std::size_t length) {
                std::u16string text;
                for (std::size_t i = at; i < at + length; ++i) {
                    const std::uint8_t c = unit.inquiry[i];
                    text += c <= ' ' || c > '~' || c == ',' ? u'_' : static_cast<char16_t>(c);
                }
                return text;
            };
            const std::u16string base = u"SCSI\\Disk" + padded(8, 8) + padded(16, 16);
            return give_strings(
                irp, {base + padded(32, 4), base, u"SCSI\\Disk" + padded(8, 8), u"GenDisk"}, true);
        }
        case BusQueryCompatibleIDs: return give_strings(irp, {u"SCSI\\Disk", u"SCSI\\RAW"}, true);
        default: return complete(irp, irp->IoStatus.Status, irp->IoStatus.Information);
    }
}

NTSTATUS query_capabilities(PhysicalDevice& device, PIRP irp) {
    PDEVICE_CAPABILITIES const out =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceCapabilities.Capabilities;
    const bool full = device.parent != nullptr && (device.parent->driver->hw.FeatureSupport &
                                                   STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES) != 0;
    STOR_DEVICE_CAPABILITIES_EX answer{};
    answer.Version = 1;
    answer.Size = sizeof answer;
    std::uint8_t status = SRB_STATUS_INVALID_REQUEST;
    send_pnp_srb(device, StorQueryCapabilities, &answer,
                 full ? sizeof answer : sizeof(STOR_DEVICE_CAPABILITIES), &status);
    if (status == SRB_STATUS_SUCCESS) {
        out->LockSupported = (answer.Bits & STOR_CAPABILITY_LOCK_SUPPORTED) != 0;
        out->EjectSupported = (answer.Bits & STOR_CAPABILITY_EJECT_SUPPORTED) != 0;
        out->Removable = (answer.Bits & STOR_CAPABILITY_REMOVABLE) != 0;
        out->SurpriseRemovalOK = (answer.Bits & (full ? STOR_CAPABILITY_EX_SURPRISE_REMOVAL_OK
                                                      : STOR_CAPABILITY_SURPRISE_REMOVAL_OK)) != 0;
    }
    // Instance ids carry port and address already; SilentInstall and RawDeviceOK let a PnP manager
    // without a disk driver start the stack, on top of which the lab's own disk class sits.
    out->UniqueID = 1;
    out->SilentInstall = 1;
    out->RawDeviceOK = 1;
    out->Address = device.identity.address.target;
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS surprise_removal(PhysicalDevice& device, PIRP irp) {
    device.surprised = true;
    if (device.parent != nullptr)
        unit_control(*device.parent, ScsiUnitSurpriseRemoval, device.identity.address);
    send_pnp_srb(device, StorSurpriseRemoval, nullptr, 0, nullptr);
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS remove(PhysicalDevice& device, PIRP irp) {
    FunctionalDevice* const parent = device.parent;
    const std::shared_ptr<Adapter> adapter = parent != nullptr ? parent->adapter : nullptr;
    if (adapter) {
        if (!device.surprised && !device.removed) {
            unit_control(*parent, ScsiUnitRemove, device.identity.address);
            send_pnp_srb(device, StorRemoveDevice, nullptr, 0, nullptr);
        }
        adapter->expect_drained(device.identity.address, device.last_sequence, "REMOVE_DEVICE");
    }
    if (!device.missing) {
        // Still there: as Windows does, the device stays until a scan does not find it.
        device.removed = true;
        return complete(irp, STATUS_SUCCESS);
    }
    if (parent != nullptr) {
        const std::lock_guard lock(parent->units_mutex);
        std::erase(parent->units, &device);
        --parent->removals_due;
    }
    PDEVICE_OBJECT const self = device.self;
    const NTSTATUS status = complete(irp, STATUS_SUCCESS);
    device.~PhysicalDevice();
    IoDeleteDevice(self);
    return status;
}

NTSTATUS target_relation(PhysicalDevice& device, PIRP irp) {
    auto* const relations = static_cast<DEVICE_RELATIONS*>(
        ExAllocatePoolWithTag(PagedPool, sizeof(DEVICE_RELATIONS), kPoolTag));
    if (relations == nullptr) return complete(irp, STATUS_INSUFFICIENT_RESOURCES);
    relations->Count = 1;
    relations->Objects[0] = device.self;
    ObReferenceObject(device.self);
    return complete(irp, STATUS_SUCCESS, reinterpret_cast<ULONG_PTR>(relations));
}

NTSTATUS get_address(PhysicalDevice& device, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    if (stack->Parameters.DeviceIoControl.OutputBufferLength < sizeof(SCSI_ADDRESS))
        return complete(irp, STATUS_BUFFER_TOO_SMALL);
    SCSI_ADDRESS address{};
    address.Length = sizeof address;
    address.PortNumber = device.parent != nullptr ? device.parent->port_number : 0;
    address.PathId = device.identity.address.path;
    address.TargetId = device.identity.address.target;
    address.Lun = device.identity.address.lun;
    std::memcpy(irp->AssociatedIrp.SystemBuffer, &address, sizeof address);
    return complete(irp, STATUS_SUCCESS, sizeof address);
}

}  // namespace

bool unit_is_missing(PDEVICE_OBJECT device) {
    return physical_device(device).missing;
}

bool unit_is_removed(PDEVICE_OBJECT device) {
    return physical_device(device).removed;
}

NTSTATUS physical_pnp(PhysicalDevice& device, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    switch (stack->MinorFunction) {
        case IRP_MN_START_DEVICE:
            if (device.parent != nullptr)
                unit_control(*device.parent, ScsiUnitStart, device.identity.address);
            device.removed = false;
            return complete(irp, STATUS_SUCCESS);
        case IRP_MN_QUERY_ID: return query_id(device, irp);
        case IRP_MN_QUERY_CAPABILITIES: return query_capabilities(device, irp);
        case IRP_MN_SURPRISE_REMOVAL: return surprise_removal(device, irp);
        case IRP_MN_REMOVE_DEVICE: return remove(device, irp);
        case IRP_MN_QUERY_DEVICE_RELATIONS:
            if (stack->Parameters.QueryDeviceRelations.Type == TargetDeviceRelation)
                return target_relation(device, irp);
            break;
        case IRP_MN_QUERY_REMOVE_DEVICE:
        case IRP_MN_CANCEL_REMOVE_DEVICE:
        case IRP_MN_QUERY_STOP_DEVICE:
        case IRP_MN_CANCEL_STOP_DEVICE:
        case IRP_MN_STOP_DEVICE: return complete(irp, STATUS_SUCCESS);
        default: break;
    }
    return complete(irp, irp->IoStatus.Status, irp->IoStatus.Information);
}

NTSTATUS physical_control(PhysicalDevice& device, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    if (stack->Parameters.DeviceIoControl.IoControlCode == IOCTL_SCSI_GET_ADDRESS)
        return get_address(device, irp);
    return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
}

}  // namespace wnbd::lab
