// SPDX-License-Identifier: LGPL-2.1-or-later
// IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES: trim, which becomes UNMAP.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/big_endian.h"
#include "lab/ddk/disk_ioctls.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"

namespace wnbd::lab {
namespace {

constexpr std::size_t kUnmapHeader = 8;
constexpr std::size_t kUnmapDescriptor = 16;
constexpr std::uint32_t kNoLimit = 0xFFFFFFFF;

struct Extent {  // blocks
    std::uint64_t start;
    std::uint64_t count;
};

NTSTATUS send(Disk& disk, const std::vector<Extent>& extents) {
    const std::size_t descriptors = extents.size() * kUnmapDescriptor;
    std::vector<std::uint8_t> list(kUnmapHeader + descriptors);
    store_big_endian<std::uint16_t>(&list[0], static_cast<std::uint16_t>(list.size() - 2));
    store_big_endian<std::uint16_t>(&list[2], static_cast<std::uint16_t>(descriptors));
    std::uint8_t* at = &list[kUnmapHeader];
    for (const Extent& extent : extents) {
        store_big_endian<std::uint64_t>(at, extent.start);
        store_big_endian<std::uint32_t>(at + 8, static_cast<std::uint32_t>(extent.count));
        at += kUnmapDescriptor;
    }
    Request request;
    request.cdb[0] = 0x42;  // UNMAP
    store_big_endian<std::uint16_t>(request.cdb + 7, static_cast<std::uint16_t>(list.size()));
    request.cdb_length = 10;
    request.direction = Direction::Out;
    request.data = list.data();
    request.data_length = static_cast<std::uint32_t>(list.size());
    return run_command(disk, request);
}

/// Cut into commands that keep to the unit's limits of blocks and of descriptors (VPD B0h).
NTSTATUS unmap(Disk& disk, const BlockTraits& traits, const std::vector<Extent>& extents) {
    const std::uint64_t blocks_max = std::min(traits.unmap_blocks_max, kNoLimit - 1);
    const std::size_t count_max = std::min<std::uint32_t>(
        traits.unmap_descriptors_max, (0xFFFF - kUnmapHeader) / kUnmapDescriptor);
    std::vector<Extent> batch;
    std::uint64_t room = blocks_max;
    NTSTATUS status = STATUS_SUCCESS;
    for (Extent rest : extents) {
        while (rest.count != 0) {
            const std::uint64_t count = std::min(rest.count, room);
            batch.push_back({rest.start, count});
            rest.start += count;
            rest.count -= count;
            room -= count;
            if (room != 0 && batch.size() < count_max) continue;
            if (status = send(disk, batch); !NT_SUCCESS(status)) return status;
            batch.clear();
            room = blocks_max;
        }
    }
    return batch.empty() ? status : send(disk, batch);
}

/// The ranges in blocks; false when one is not of whole blocks inside the disk.
bool extents_of(Disk& disk, const DEVICE_MANAGE_DATA_SET_ATTRIBUTES& head,
                const std::uint8_t* ranges, std::vector<Extent>& extents) {
    const std::uint64_t sector = disk.sector();
    const std::uint64_t length = disk.length();
    if ((head.Flags & DEVICE_DSM_FLAG_ENTIRE_DATA_SET_RANGE) != 0) {
        extents.push_back({0, length / sector});
        return head.DataSetRangesLength == 0;
    }
    DEVICE_DATA_SET_RANGE range;
    if (head.DataSetRangesLength == 0 || head.DataSetRangesLength % sizeof range != 0) return false;
    for (std::size_t at = 0; at < head.DataSetRangesLength; at += sizeof range) {
        std::memcpy(&range, ranges + at, sizeof range);
        const auto start = static_cast<std::uint64_t>(range.StartingOffset);
        if (start % sector != 0 || range.LengthInBytes % sector != 0 || start > length ||
            range.LengthInBytes > length - start)
            return false;
        extents.push_back({start / sector, range.LengthInBytes / sector});
    }
    return true;
}

}  // namespace

NTSTATUS manage_data_sets(Disk& disk, PIRP irp) {
    const ULONG length =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.InputBufferLength;
    DEVICE_MANAGE_DATA_SET_ATTRIBUTES head{};
    if (length < sizeof head) return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    std::memcpy(&head, irp->AssociatedIrp.SystemBuffer, sizeof head);
    if (head.Size < sizeof head || head.DataSetRangesOffset > length ||
        head.DataSetRangesLength > length - head.DataSetRangesOffset)
        return complete(irp, STATUS_INVALID_PARAMETER);
    if (head.Action != DeviceDsmAction_Trim) return complete(irp, STATUS_NOT_SUPPORTED);
    BlockTraits traits;
    {
        const std::lock_guard lock(disk.mutex);
        traits = disk.traits;
    }
    if (!traits.unmap || traits.unmap_blocks_max == 0 || traits.unmap_descriptors_max == 0)
        return complete(irp, STATUS_NOT_SUPPORTED);
    std::vector<Extent> extents;
    const auto* const buffer = static_cast<const std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
    if (!extents_of(disk, head, buffer + head.DataSetRangesOffset, extents))
        return complete(irp, STATUS_INVALID_PARAMETER);
    return complete(irp, unmap(disk, traits, extents));
}

}  // namespace wnbd::lab
