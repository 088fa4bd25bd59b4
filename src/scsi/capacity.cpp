// SPDX-License-Identifier: LGPL-2.1-or-later
// READ CAPACITY and GET LBA STATUS (SBC-3).
#include "scsi/decoder.h"
#include "scsi/lba_status.h"
#include "scsi/limits.h"

namespace wnbd::scsi {
namespace {

// A disk of no blocks has no last LBA to report.
Answer not_ready() noexcept {
    return refuse(SenseKey::not_ready, AdditionalSense::logical_unit_not_ready);
}

}  // namespace

Decision decode_read_capacity_10(const Context& context) noexcept {
    if (context.block_count == 0) return not_ready();
    const std::uint64_t last = context.block_count - 1;
    constexpr std::uint64_t see_read_capacity_16 = 0xFFFFFFFF;
    ByteWriter out(context.buffer());
    out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(std::min(last, see_read_capacity_16)));
    out.big_endian<std::uint32_t>(context.disk.block_size);
    return good(out.stored());
}

Decision decode_read_capacity_16(const Context& context) noexcept {
    if (context.block_count == 0) return not_ready();
    const Disk& disk = context.disk;
    constexpr std::uint8_t lbpme = 0x80;
    constexpr std::uint8_t lbprz = 0x40;
    std::uint8_t provisioning = 0;
    if (disk.unmap_supported) provisioning = lbpme;
    if (disk.unmap_supported && disk.unmap_reads_zeroes) provisioning |= lbprz;

    ByteWriter out(context.room(context.field<std::uint32_t>(10)));
    out.big_endian<std::uint64_t>(context.block_count - 1);
    out.big_endian<std::uint32_t>(disk.block_size);
    out.byte(0);  // not formatted with protection information
    out.byte(disk.physical_block_exponent & 0x0F);
    out.byte(provisioning);
    out.byte(0);  // LOWEST ALIGNED LBA
    out.fill(16);
    return good(out.stored());
}

// SBC-3 5.6.2. Of a fully provisioned unit all blocks are mapped (4.7.2), whatever the storage
// does.
Decision decode_get_lba_status(const Context& context) noexcept {
    const auto first = context.field<std::uint64_t>(2);
    if (first >= context.block_count) return out_of_range();
    const auto room = context.room(context.field<std::uint32_t>(10));
    if (context.disk.extents_told && context.disk.unmap_supported && !room.empty()) {
        BlockRequest request;
        request.action = Action::get_lba_status;
        request.lba = first;
        request.block_count = context.block_count;
        request.data_length = room.size();
        return request;
    }
    LbaStatus status(room, first, context.block_count);
    status.add(context.block_count, true);
    return good(status.finish());
}

}  // namespace wnbd::scsi
