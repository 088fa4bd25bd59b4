// SPDX-License-Identifier: LGPL-2.1-or-later
// IOCTL_STORAGE_QUERY_PROPERTY.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "lab/ddk/disk_ioctls.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"

namespace wnbd::lab {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <typename T>
void append(Bytes& bytes, const T& value) {
    const std::size_t at = bytes.size();
    bytes.resize(at + sizeof value);
    std::memcpy(&bytes[at], &value, sizeof value);
}

/// A descriptor that is of one size, with its head filled in.
template <typename T>
Bytes descriptor(T value) {
    value.Version = sizeof value;
    value.Size = sizeof value;
    Bytes bytes;
    append(bytes, value);
    return bytes;
}

/// Adds a terminated string and gives its offset; 0, as Windows says, for none.
ULONG append_text(Bytes& bytes, const std::string& text) {
    if (text.empty()) return 0;
    const auto at = static_cast<ULONG>(bytes.size());
    bytes.insert(bytes.end(), text.begin(), text.end());
    bytes.push_back(0);
    return at;
}

Bytes device_property(Disk& disk) {
    STORAGE_DEVICE_DESCRIPTOR head{};
    Bytes bytes(offsetof(STORAGE_DEVICE_DESCRIPTOR, RawDeviceProperties));
    const UnitIdentity& unit = disk.unit;
    bytes.insert(bytes.end(), unit.inquiry.begin(), unit.inquiry.end());
    head.Version = sizeof head;
    head.DeviceType = unit.inquiry[0] & 0x1F;
    head.RemovableMedia = (unit.inquiry[1] & 0x80) != 0;
    head.CommandQueueing = (unit.inquiry[7] & 0x02) != 0;
    head.RawPropertiesLength = static_cast<ULONG>(unit.inquiry.size());
    head.BusType = static_cast<STORAGE_BUS_TYPE>(limits(*unit.adapter).bus_type);
    head.VendorIdOffset = append_text(bytes, unit.vendor());
    head.ProductIdOffset = append_text(bytes, unit.product());
    head.ProductRevisionOffset = append_text(bytes, unit.revision());
    head.SerialNumberOffset = append_text(bytes, unit.serial);
    head.Size = static_cast<ULONG>(bytes.size());
    std::memcpy(bytes.data(), &head, offsetof(STORAGE_DEVICE_DESCRIPTOR, RawDeviceProperties));
    return bytes;
}

/// VPD page 83h as Windows hands it out: STORAGE_IDENTIFIERs behind a head of three ULONGs. Each is
/// CodeSet, Type (ULONGs), IdentifierSize, NextOffset (USHORTs), Association (ULONG), then the
/// identifier.
Bytes device_id_property(Disk& disk) {
    const Bytes& page = disk.unit.device_id_page;
    Bytes bytes;
    ULONG count = 0;
    std::size_t at = 4;
    while (at + 4 <= page.size() && at + 4U + page[at + 3] <= page.size()) {
        const std::uint8_t size = page[at + 3];
        const std::size_t padded = (16U + size + 3U) & ~std::size_t{3};
        append(bytes, static_cast<ULONG>(page[at] & 0x0F));
        append(bytes, static_cast<ULONG>(page[at + 1] & 0x0F));
        append(bytes, static_cast<USHORT>(size));
        append(bytes, static_cast<USHORT>(padded));
        append(bytes, static_cast<ULONG>(page[at + 1] >> 4 & 3));
        bytes.insert(bytes.end(), page.begin() + static_cast<std::ptrdiff_t>(at + 4),
                     page.begin() + static_cast<std::ptrdiff_t>(at + 4 + size));
        bytes.resize(bytes.size() + padded - 16 - size);
        at += 4U + size;
        ++count;
    }
    Bytes all;
    append(all, ULONG{12});
    append(all, static_cast<ULONG>(12 + bytes.size()));
    append(all, count);
    all.insert(all.end(), bytes.begin(), bytes.end());
    return all;
}

Bytes alignment_property(Disk& disk) {
    STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR value{};
    const std::lock_guard lock(disk.mutex);
    value.BytesPerLogicalSector = disk.block_size;
    value.BytesPerPhysicalSector = disk.physical_block_size;
    return descriptor(value);
}

Bytes write_cache_property(Disk& disk) {
    STORAGE_WRITE_CACHE_PROPERTY value{};
    const std::lock_guard lock(disk.mutex);
    value.WriteCacheType = disk.write_cache ? WriteCacheTypeWriteBack : WriteCacheTypeNone;
    value.WriteCacheEnabled = disk.write_cache ? WriteCacheEnabled : WriteCacheDisabled;
    value.WriteCacheChangeable = WriteCacheNotChangeable;
    value.WriteThroughSupported = WriteThroughSupported;
    value.FlushCacheSupported = TRUE;
    return descriptor(value);
}

BlockTraits traits_of(Disk& disk) {
    const std::lock_guard lock(disk.mutex);
    return disk.traits;
}

Bytes trim_property(Disk& disk) {
    DEVICE_TRIM_DESCRIPTOR value{};
    value.TrimEnabled = traits_of(disk).unmap;
    return descriptor(value);
}

Bytes seek_penalty_property(Disk& disk) {
    DEVICE_SEEK_PENALTY_DESCRIPTOR value{};
    value.IncursSeekPenalty = traits_of(disk).rotates;
    return descriptor(value);
}

Bytes provisioning_property(Disk& disk) {
    const BlockTraits traits = traits_of(disk);
    DEVICE_LB_PROVISIONING_DESCRIPTOR value{};
    value.ThinProvisioningEnabled = traits.thin ? 1 : 0;
    value.ThinProvisioningReadZeros = traits.unmapped_reads_zero ? 1 : 0;
    value.OptimalUnmapGranularity =
        static_cast<ULONGLONG>(traits.unmap_granularity) * disk.sector();
    return descriptor(value);
}

Bytes capability_property(Disk& disk) {
    const PortLimits now = limits(*disk.unit.adapter);
    Bytes bytes;
    append(bytes, DeviceIoCapability{sizeof(DeviceIoCapability), sizeof(DeviceIoCapability),
                                     now.max_outstanding_unit, now.max_outstanding});
    return bytes;
}

Bytes adapter_property(Disk& disk) {
    const PortLimits now = limits(*disk.unit.adapter);
    STORAGE_ADAPTER_DESCRIPTOR value{};
    value.MaximumTransferLength = now.max_transfer_length;
    value.MaximumPhysicalPages = 0xFFFFFFFF;
    value.AlignmentMask = now.alignment_mask;
    value.AdapterUsesPio = FALSE;
    value.CommandQueueing = TRUE;
    value.BusType = now.bus_type;
    return descriptor(value);
}

Bytes property(Disk& disk, ULONG id) {
    switch (id) {
        case StorageDeviceProperty: return device_property(disk);
        case StorageAdapterProperty: return adapter_property(disk);
        case StorageDeviceIdProperty: return device_id_property(disk);
        case StorageDeviceWriteCacheProperty: return write_cache_property(disk);
        case StorageDeviceSeekPenaltyProperty: return seek_penalty_property(disk);
        case StorageDeviceTrimProperty: return trim_property(disk);
        case StorageDeviceLBProvisioningProperty: return provisioning_property(disk);
        case StorageAccessAlignmentProperty: return alignment_property(disk);
        case kPropertyIoCapability: return capability_property(disk);
        default: return {};
    }
}

}  // namespace

NTSTATUS query_property(Disk& disk, PIRP irp) {
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    if (parameters.InputBufferLength < offsetof(STORAGE_PROPERTY_QUERY, AdditionalParameters))
        return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    STORAGE_PROPERTY_QUERY query{};
    std::memcpy(&query, irp->AssociatedIrp.SystemBuffer,
                offsetof(STORAGE_PROPERTY_QUERY, AdditionalParameters));
    const Bytes bytes = property(disk, static_cast<ULONG>(query.PropertyId));
    if (bytes.empty()) return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    if (query.QueryType == PropertyExistsQuery) return complete(irp, STATUS_SUCCESS);
    if (query.QueryType != PropertyStandardQuery) return complete(irp, STATUS_NOT_SUPPORTED);
    // Version and Size are given at least: a caller asks for them first, then for all.
    const std::size_t length = std::min<std::size_t>(parameters.OutputBufferLength, bytes.size());
    if (length < 8) return complete(irp, STATUS_BUFFER_TOO_SMALL);
    std::memcpy(irp->AssociatedIrp.SystemBuffer, bytes.data(), length);
    return complete(irp, STATUS_SUCCESS, length);
}

}  // namespace wnbd::lab
