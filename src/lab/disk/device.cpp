// SPDX-License-Identifier: LGPL-2.1-or-later
// The disk's device object: attach, names, open handles, PnP.
#include <cstring>
#include <new>
#include <string>

#include "lab/disk/disk.h"
#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr std::uint32_t kNumbersMax = 256;
PDRIVER_OBJECT disk_driver = nullptr;
bool use_direct_io = false;
std::atomic<std::uint32_t> next_device{0};

DiskDevice& device_from(PDEVICE_OBJECT device) {
    return *static_cast<DiskDevice*>(device->DeviceExtension);
}

std::u16string numbered(const char16_t* prefix, std::uint32_t number) {
    const std::string digits = std::to_string(number);
    return std::u16string(prefix) + std::u16string(digits.begin(), digits.end());
}

void set_string(UNICODE_STRING& string, const std::u16string& text) {
    RtlInitUnicodeString(&string, reinterpret_cast<PCWSTR>(text.c_str()));
}

/// The lowest free N whose link can be made; others may own some (Wine's own drives do).
bool take_number(Disk& disk, const std::u16string& device_name) {
    UNICODE_STRING target;
    set_string(target, device_name);
    for (std::uint32_t number = 0; number < kNumbersMax; ++number) {
        const std::u16string text = numbered(u"\\DosDevices\\PhysicalDrive", number);
        UNICODE_STRING link;
        set_string(link, text);
        if (!NT_SUCCESS(IoCreateSymbolicLink(&link, &target))) continue;
        disk.number = number;
        return true;
    }
    return false;
}

void release_number(const Disk& disk) {
    const std::u16string text = numbered(u"\\DosDevices\\PhysicalDrive", disk.number);
    UNICODE_STRING link;
    set_string(link, text);
    IoDeleteSymbolicLink(&link);
}

/// FILE_OBJECT::FsContext marks the handles that count.
void* const kCounted = reinterpret_cast<void*>(0x4B534944);

NTSTATUS NTAPI dispatch_create(PDEVICE_OBJECT device, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    const std::shared_ptr<Disk> disk = *device_from(device).disk;
    if (disk->gone || !disk->started) return complete(irp, STATUS_NO_SUCH_DEVICE);
    if (stack->FileObject != nullptr) {
        stack->FileObject->FsContext = kCounted;
        if ((stack->Parameters.Create.Options & FILE_WRITE_THROUGH) != 0)
            stack->FileObject->Flags |= FO_WRITE_THROUGH;
    }
    disk->open_handles.fetch_add(1);
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI dispatch_close(PDEVICE_OBJECT device, PIRP irp) {
    PFILE_OBJECT const file = IoGetCurrentIrpStackLocation(irp)->FileObject;
    if (file == nullptr || file->FsContext == kCounted)
        (*device_from(device).disk)->open_handles.fetch_sub(1);
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI dispatch_cleanup(PDEVICE_OBJECT, PIRP irp) {
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI dispatch_read_write(PDEVICE_OBJECT device, PIRP irp) {
    return disk_read_write(*device_from(device).disk, irp);
}

NTSTATUS flush_work(void* context, PIRP irp) {
    return complete(irp, disk_flush(**device_from(static_cast<PDEVICE_OBJECT>(context)).disk));
}

NTSTATUS NTAPI dispatch_flush(PDEVICE_OBJECT device, PIRP irp) {
    return host().run_blocking(irp, false, flush_work, device);
}

NTSTATUS NTAPI dispatch_control(PDEVICE_OBJECT device, PIRP irp) {
    return disk_control(device_from(device), irp);
}

NTSTATUS start(DiskDevice& device, PIRP irp) {
    NTSTATUS status = forward_and_wait(device.lower, irp);
    Disk& disk = **device.disk;
    if (NT_SUCCESS(status) && !read_properties(disk)) {
        DbgPrint("disk: the unit gives no capacity\n");
        status = STATUS_DEVICE_NOT_READY;
    }
    if (NT_SUCCESS(status)) {
        disk.started = true;
        DbgPrint("disk: PhysicalDrive%u: %u:%u:%u, %llu bytes\n", disk.number,
                 disk.unit.address.path, disk.unit.address.target, disk.unit.address.lun,
                 static_cast<unsigned long long>(disk.length()));
    }
    return complete(irp, status);
}

/// The device follows the unit's physical device: gone from the namespace at the first removal,
/// deleted at the last one (there is a second when the unit outlives its orderly removal until the
/// next scan).
NTSTATUS remove(DiskDevice& device, PIRP irp) {
    const std::shared_ptr<Disk> disk = *device.disk;
    if (!disk->gone.exchange(true)) {
        release_number(*disk);
        DbgPrint("disk: PhysicalDrive%u removed\n", disk->number);
    }
    const bool last = unit_is_missing(disk->physical_device);
    PDEVICE_OBJECT const self = device.self;
    PDEVICE_OBJECT const lower = device.lower;
    IoSkipCurrentIrpStackLocation(irp);
    if (!last) return IofCallDriver(lower, irp);
    // The Disk itself stays (a few hundred bytes), and so does the device object while a handle to
    // it is open: Windows would keep it until the last is closed, Wine frees it at once.
    const NTSTATUS status = IofCallDriver(lower, irp);
    IoDetachDevice(lower);
    if (disk->open_handles == 0) IoDeleteDevice(self);
    return status;
}

NTSTATUS NTAPI dispatch_pnp(PDEVICE_OBJECT self, PIRP irp) {
    DiskDevice& device = device_from(self);
    Disk& disk = **device.disk;
    switch (IoGetCurrentIrpStackLocation(irp)->MinorFunction) {
        case IRP_MN_START_DEVICE: return start(device, irp);
        case IRP_MN_REMOVE_DEVICE: return remove(device, irp);
        case IRP_MN_QUERY_REMOVE_DEVICE:
            // On Windows the veto of an open handle comes from the I/O manager or the file system.
            if (disk.open_handles != 0) return complete(irp, STATUS_DEVICE_BUSY);
            break;
        case IRP_MN_SURPRISE_REMOVAL:
            // A PnP manager that knows nothing of the orderly removal before would send this again.
            if (unit_is_removed(disk.physical_device)) return complete(irp, STATUS_SUCCESS);
            break;
        default: break;
    }
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(device.lower, irp);
}

NTSTATUS NTAPI dispatch_power(PDEVICE_OBJECT device, PIRP irp) {
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(device_from(device).lower, irp);
}

void attach(PDEVICE_OBJECT physical_device, const UnitIdentity& identity) {
    const std::u16string name = numbered(u"\\Device\\WnbdLabDisk", next_device.fetch_add(1));
    UNICODE_STRING device_name;
    set_string(device_name, name);
    PDEVICE_OBJECT self = nullptr;
    NTSTATUS status = IoCreateDevice(disk_driver, sizeof(DiskDevice), &device_name,
                                     FILE_DEVICE_DISK, 0, FALSE, &self);
    if (!NT_SUCCESS(status)) {
        DbgPrint("disk: no device object: %lx\n", status);
        return;
    }
    auto disk = std::make_shared<Disk>();
    disk->unit = identity;
    disk->physical_device = physical_device;
    auto& device = *new (self->DeviceExtension) DiskDevice{self, nullptr, nullptr};
    if (take_number(*disk, name)) device.lower = IoAttachDeviceToDeviceStack(self, physical_device);
    if (device.lower == nullptr) {
        DbgPrint("disk: no number or no stack for a unit\n");
        IoDeleteDevice(self);
        return;
    }
    device.disk = new std::shared_ptr<Disk>(std::move(disk));
    self->Flags |= use_direct_io ? DO_DIRECT_IO : DO_BUFFERED_IO;
    self->Flags &= ~static_cast<ULONG>(DO_DEVICE_INITIALIZING);
}

}  // namespace

void start_disk_class(PDRIVER_OBJECT driver, bool direct_io) {
    disk_driver = driver;
    use_direct_io = direct_io;
    driver->MajorFunction[IRP_MJ_CREATE] = dispatch_create;
    driver->MajorFunction[IRP_MJ_CLOSE] = dispatch_close;
    driver->MajorFunction[IRP_MJ_CLEANUP] = dispatch_cleanup;
    driver->MajorFunction[IRP_MJ_READ] = dispatch_read_write;
    driver->MajorFunction[IRP_MJ_WRITE] = dispatch_read_write;
    driver->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = dispatch_flush;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatch_control;
    driver->MajorFunction[IRP_MJ_PNP] = dispatch_pnp;
    driver->MajorFunction[IRP_MJ_POWER] = dispatch_power;
    set_class(attach);
}

}  // namespace wnbd::lab
