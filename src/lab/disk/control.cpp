// SPDX-License-Identifier: LGPL-2.1-or-later
// The disk ioctls.
#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "lab/ddk/disk_ioctls.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr ULONG kTracksPerCylinder = 255;  // the geometry that Windows makes up for any disk
constexpr ULONG kSectorsPerTrack = 63;
/// IOCTL_DISK_GET_DRIVE_GEOMETRY_EX gives the fixed part alone when there is no room for the rest.
constexpr std::size_t kGeometryFixed = offsetof(DISK_GEOMETRY_EX, Data);

template <typename T>
NTSTATUS give(PIRP irp, const T& value, std::size_t size = sizeof(T)) {
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    if (parameters.OutputBufferLength < size) return complete(irp, STATUS_BUFFER_TOO_SMALL);
    std::memcpy(irp->AssociatedIrp.SystemBuffer, &value, size);
    return complete(irp, STATUS_SUCCESS, size);
}

DISK_GEOMETRY geometry_of(Disk& disk) {
    const std::lock_guard lock(disk.mutex);
    DISK_GEOMETRY geometry{};
    geometry.MediaType = FixedMedia;
    geometry.TracksPerCylinder = kTracksPerCylinder;
    geometry.SectorsPerTrack = kSectorsPerTrack;
    geometry.BytesPerSector = disk.block_size;
    geometry.Cylinders.QuadPart =
        static_cast<LONGLONG>(disk.blocks / (kTracksPerCylinder * kSectorsPerTrack));
    return geometry;
}

NTSTATUS geometry_ex(Disk& disk, PIRP irp) {
    DISK_GEOMETRY_EX all{};
    all.Geometry = geometry_of(disk);
    all.DiskSize.QuadPart = static_cast<LONGLONG>(disk.length());
    const auto room =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.OutputBufferLength;
    return give(irp, all, room >= sizeof all ? sizeof all : kGeometryFixed);
}

NTSTATUS device_number(Disk& disk, PIRP irp) {
    STORAGE_DEVICE_NUMBER number{};
    number.DeviceType = FILE_DEVICE_DISK;
    number.DeviceNumber = disk.number;
    number.PartitionNumber = 0;
    return give(irp, number);
}

NTSTATUS get_attributes(Disk& disk, PIRP irp) {
    DiskAttributesGet value{};
    value.Version = sizeof value;
    {
        const std::lock_guard lock(disk.mutex);
        value.Attributes = disk.attributes;
        if (disk.write_protected) value.Attributes |= kAttributeReadOnly;
    }
    return give(irp, value);
}

NTSTATUS set_attributes(Disk& disk, PIRP irp) {
    if (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.InputBufferLength <
        sizeof(DiskAttributesSet))
        return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    DiskAttributesSet value;
    std::memcpy(&value, irp->AssociatedIrp.SystemBuffer, sizeof value);
    const ULONGLONG known = kAttributeOffline | kAttributeReadOnly;
    if (value.Version != sizeof value || (value.AttributesMask & ~known) != 0 ||
        (value.Attributes & ~value.AttributesMask) != 0)
        return complete(irp, STATUS_INVALID_PARAMETER);
    const std::lock_guard lock(disk.mutex);
    disk.attributes = (disk.attributes & ~value.AttributesMask) | value.Attributes;
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS is_writable(Disk& disk, PIRP irp) {
    bool protected_now = false;
    {
        const std::lock_guard lock(disk.mutex);
        protected_now = disk.write_protected || (disk.attributes & kAttributeReadOnly) != 0;
    }
    return complete(irp, protected_now ? STATUS_MEDIA_WRITE_PROTECTED : STATUS_SUCCESS);
}

NTSTATUS read_capacity(Disk& disk, PIRP irp) {
    if (!read_properties(disk)) return complete(irp, STATUS_DEVICE_NOT_READY);
    STORAGE_READ_CAPACITY capacity{};
    capacity.Version = sizeof capacity;
    capacity.Size = sizeof capacity;
    {
        const std::lock_guard lock(disk.mutex);
        capacity.BlockLength = disk.block_size;
        capacity.NumberOfBlocks.QuadPart = static_cast<LONGLONG>(disk.blocks);
    }
    capacity.DiskLength.QuadPart = static_cast<LONGLONG>(disk.length());
    return give(irp, capacity);
}

NTSTATUS verify(Disk& disk, PIRP irp) {
    VERIFY_INFORMATION range;
    if (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.InputBufferLength <
        sizeof range)
        return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    std::memcpy(&range, irp->AssociatedIrp.SystemBuffer, sizeof range);
    const std::uint32_t sector = disk.sector();
    if (range.StartingOffset.QuadPart < 0 || range.StartingOffset.QuadPart % sector != 0 ||
        range.Length % sector != 0)
        return complete(irp, STATUS_INVALID_PARAMETER);
    Request request;
    request.cdb[0] = 0x8F;  // VERIFY(16), the medium only
    store_big_endian<std::uint64_t>(
        request.cdb + 2, static_cast<std::uint64_t>(range.StartingOffset.QuadPart) / sector);
    store_big_endian<std::uint32_t>(request.cdb + 10, range.Length / sector);
    request.cdb_length = 16;
    return complete(irp, run_command(disk, request));
}

/// Those that send commands to the unit: run where they may wait.
NTSTATUS control_work(void* context, PIRP irp) {
    auto& disk = *static_cast<Disk*>(context);
    switch (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.IoControlCode) {
        case IOCTL_DISK_UPDATE_PROPERTIES:
            return complete(irp, read_properties(disk) ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY);
        case IOCTL_DISK_GET_LENGTH_INFO: {
            if (!read_properties(disk)) return complete(irp, STATUS_DEVICE_NOT_READY);
            GET_LENGTH_INFORMATION length{};
            length.Length.QuadPart = static_cast<LONGLONG>(disk.length());
            return give(irp, length);
        }
        case IOCTL_SCSI_PASS_THROUGH: return pass_through(disk, irp, false);
        case IOCTL_SCSI_PASS_THROUGH_DIRECT: return pass_through(disk, irp, true);
        case IOCTL_STORAGE_PERSISTENT_RESERVE_IN: return persistent_reserve(disk, irp, false);
        case IOCTL_STORAGE_PERSISTENT_RESERVE_OUT: return persistent_reserve(disk, irp, true);
        case IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES: return manage_data_sets(disk, irp);
        case IOCTL_STORAGE_READ_CAPACITY: return read_capacity(disk, irp);
        case IOCTL_DISK_VERIFY: return verify(disk, irp);
        case IOCTL_STORAGE_CHECK_VERIFY:
        case IOCTL_DISK_CHECK_VERIFY: {
            Request ready;  // TEST UNIT READY: all zeros
            ready.cdb_length = 6;
            return complete(irp, run_command(disk, ready));
        }
        default: return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    }
}

NTSTATUS work_and_release(void* context, PIRP irp) {
    const std::unique_ptr<std::shared_ptr<Disk>> disk(static_cast<std::shared_ptr<Disk>*>(context));
    return control_work(disk->get(), irp);
}

}  // namespace

NTSTATUS disk_control(DiskDevice& device, PIRP irp) {
    Disk& disk = **device.disk;
    const ULONG code = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.IoControlCode;
    if (disk.gone || !disk.started) {
        // The driver may ask a unit's stack for its address before the disk is started.
        if (code != IOCTL_SCSI_GET_ADDRESS) return complete(irp, STATUS_DEVICE_NOT_READY);
    }
    switch (code) {
        case IOCTL_DISK_GET_DRIVE_GEOMETRY: return give(irp, geometry_of(disk));
        case IOCTL_DISK_GET_DRIVE_GEOMETRY_EX: return geometry_ex(disk, irp);
        case IOCTL_STORAGE_GET_DEVICE_NUMBER: return device_number(disk, irp);
        case IOCTL_STORAGE_QUERY_PROPERTY: return query_property(disk, irp);
        case kIoctlGetDiskAttributes: return get_attributes(disk, irp);
        case kIoctlSetDiskAttributes: return set_attributes(disk, irp);
        case IOCTL_DISK_IS_WRITABLE: return is_writable(disk, irp);
        case IOCTL_DISK_UPDATE_PROPERTIES:
        case IOCTL_DISK_GET_LENGTH_INFO:
        case IOCTL_SCSI_PASS_THROUGH:
        case IOCTL_SCSI_PASS_THROUGH_DIRECT:
        case IOCTL_STORAGE_PERSISTENT_RESERVE_IN:
        case IOCTL_STORAGE_PERSISTENT_RESERVE_OUT:
        case IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES:
        case IOCTL_STORAGE_READ_CAPACITY:
        case IOCTL_DISK_VERIFY:
        case IOCTL_STORAGE_CHECK_VERIFY:
        case IOCTL_DISK_CHECK_VERIFY:
            return host().run_blocking(irp, false, work_and_release,
                                       new std::shared_ptr<Disk>(*device.disk));
        default: IoSkipCurrentIrpStackLocation(irp); return IofCallDriver(device.lower, irp);
    }
}

}  // namespace wnbd::lab
