// SPDX-License-Identifier: LGPL-2.1-or-later
// Plug and Play, in front of Storport's own dispatch routine: disks learn which device Windows made
// for them, are not taken away while they work, and go when their device goes. PASSIVE_LEVEL.
#include "driver/adapter_device.h"
#include "driver/entry_points.h"
#include "driver/log.h"

namespace wnbd::driver {

namespace {

NTSTATUS pass_on(PDEVICE_OBJECT device, PIRP irp) noexcept {
    return driver().storport_pnp(device, irp);
}

NTSTATUS complete(PIRP irp, NTSTATUS status) noexcept {
    irp->IoStatus.Status = status;
    IofCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

/// Calls `act(adapter)` for each adapter until it returns true. Says whether one did.
template <typename Act>
bool for_adapter(Act&& act) noexcept {
    for (unsigned i = 0;; ++i) {
        const AdapterReference adapter(driver().adapters.at(i));
        if (!adapter) return false;
        if (act(*adapter)) return true;
    }
}

// The PDO may be asked as soon as Storport has started it; the disk number comes later, when the
// class driver above has started too, and is asked for when somebody wants it.
void learn_unit(PDEVICE_OBJECT pdo) noexcept {
    SCSI_ADDRESS address{};
    const NTSTATUS status = query_scsi_address(pdo, address);
    if (!NT_SUCCESS(status)) {
        WNBD_LOG(warning, "a unit does not tell its address: 0x%lx",
                 static_cast<unsigned long>(status));
        return;
    }
    if (address.PathId != 0 || address.Lun != 0) return;
    (void)for_adapter([&](AdapterDevice& adapter) noexcept {
        if (!adapter.is_port(address.PortNumber)) return false;
        adapter.units().started(pdo, address.TargetId);
        return true;
    });
}

NTSTATUS start_unit(PDEVICE_OBJECT pdo, PIRP irp) noexcept {
    ObfReferenceObject(pdo);
    const NTSTATUS status = pass_on(pdo, irp);  // the IRP is gone now
    if (NT_SUCCESS(status)) learn_unit(pdo);
    ObfDereferenceObject(pdo);
    return status;
}

bool is_busy(PDEVICE_OBJECT pdo) noexcept {
    return for_adapter([&](AdapterDevice& adapter) noexcept {
        const std::uint64_t connection_id = adapter.units().connection_of(pdo);
        if (connection_id == 0) return false;
        const engine::UnitReference unit = adapter.adapter().find(connection_id);
        return unit && unit->disk.has_outstanding();
    });
}

/// Takes the disk away that this device was started for. A later disk of the same target stays.
void remove_disk_of(PDEVICE_OBJECT pdo, bool device_goes) noexcept {
    (void)for_adapter([&](AdapterDevice& adapter) noexcept {
        const std::uint64_t connection_id =
            device_goes ? adapter.units().removed(pdo) : adapter.units().connection_of(pdo);
        if (connection_id == 0) return false;
        (void)adapter.adapter().remove(connection_id);
        return true;
    });
}

NTSTATUS NTAPI signal_completion(PDEVICE_OBJECT, PIRP, PVOID event) {
    KeSetEvent(static_cast<PKEVENT>(event), IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/// Asks Storport for a unit's capabilities with an IRP of our own.
NTSTATUS ask_capabilities(PDEVICE_OBJECT pdo, DEVICE_CAPABILITIES& capabilities) noexcept {
    PIRP const irp = IoAllocateIrp(pdo->StackSize, FALSE);
    if (irp == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    KEVENT done;
    KeInitializeEvent(&done, NotificationEvent, FALSE);
    irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
    PIO_STACK_LOCATION const stack = IoGetNextIrpStackLocation(irp);
    stack->MajorFunction = IRP_MJ_PNP;
    stack->MinorFunction = IRP_MN_QUERY_CAPABILITIES;
    stack->DeviceObject = pdo;
    stack->Parameters.DeviceCapabilities.Capabilities = &capabilities;
    IoSetCompletionRoutine(irp, signal_completion, &done, TRUE, TRUE, TRUE);
    // Straight to Storport: IoCallDriver would lead back here.
    IoSetNextIrpStackLocation(irp);
    (void)pass_on(pdo, irp);
    (void)KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, nullptr);
    const NTSTATUS status = irp->IoStatus.Status;
    IoFreeIrp(irp);
    return status;
}

// The caller's IRP is over as soon as Storport has completed it, and its structure may be gone
// then. So Storport answers an IRP of our own, and the caller gets its answer with our changes.
NTSTATUS query_unit_capabilities(PDEVICE_OBJECT pdo, PIRP irp) noexcept {
    DEVICE_CAPABILITIES* const wanted =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceCapabilities.Capabilities;
    if (wanted == nullptr) return pass_on(pdo, irp);
    DEVICE_CAPABILITIES capabilities = *wanted;
    const NTSTATUS status = ask_capabilities(pdo, capabilities);
    if (NT_SUCCESS(status)) {
        capabilities.Removable = TRUE;
        capabilities.EjectSupported = TRUE;
        capabilities.SilentInstall = TRUE;
        capabilities.SurpriseRemovalOK = FALSE;  // else Windows takes disks away without asking
        *wanted = capabilities;
    }
    return complete(irp, status);
}

NTSTATUS dispatch_unit(PDEVICE_OBJECT pdo, PIRP irp) noexcept {
    switch (IoGetCurrentIrpStackLocation(irp)->MinorFunction) {
        case IRP_MN_START_DEVICE: return start_unit(pdo, irp);
        case IRP_MN_QUERY_CAPABILITIES: return query_unit_capabilities(pdo, irp);
        case IRP_MN_QUERY_REMOVE_DEVICE:
            if (is_busy(pdo)) return complete(irp, STATUS_DEVICE_BUSY);
            break;
        case IRP_MN_SURPRISE_REMOVAL: remove_disk_of(pdo, false); break;
        case IRP_MN_REMOVE_DEVICE: remove_disk_of(pdo, true); break;
        default: break;
    }
    return pass_on(pdo, irp);
}

/// What is to be done before Storport sees that the adapter goes. The reference is given back
/// before that: free_adapter_resources() waits for it.
void prepare_adapter(const AdapterReference& adapter, UCHAR minor) noexcept {
    if (minor == IRP_MN_SURPRISE_REMOVAL || minor == IRP_MN_REMOVE_DEVICE) adapter->end_service();
}

}  // namespace

// Units are physical device objects, which the system marks; the adapter's device is one of those
// in our list. Anything else, such as an adapter that has not been started, is Storport's alone.
NTSTATUS NTAPI dispatch_pnp(PDEVICE_OBJECT device, PIRP irp) {
    const UCHAR minor = IoGetCurrentIrpStackLocation(irp)->MinorFunction;
    if (const AdapterReference adapter(driver().adapters.find_by_fdo(device)); adapter)
        prepare_adapter(adapter, minor);
    else if ((device->Flags & DO_BUS_ENUMERATED_DEVICE) != 0)
        return dispatch_unit(device, irp);
    return pass_on(device, irp);
}

}  // namespace wnbd::driver
