// SPDX-License-Identifier: LGPL-2.1-or-later
// READ CAPACITY and GET LBA STATUS (SBC-3).
#include "scsi/decoder.h"
#include "scsi/limits.h"

namespace wnbd::scsi {
namespace {

// A disk of no blocks has no last LBA to report.
Answer not_ready() noexcept {
    return refuse(SenseKey::not_ready, AdditionalSense::logical_unit_not_ready);
}

/// The blocks from `lba` on that are of one kind, as many as a descriptor counts.
BlockMap::Extent run_at(const Context& context, std::uint64_t lba) noexcept {
    constexpr std::uint64_t blocks_max = 0xFFFFFFFF;
    // A map of many small pieces is not walked for ever: the next descriptor goes on.
    constexpr unsigned pieces_max = 256;
    const std::uint64_t end = lba + std::min<std::uint64_t>(context.block_count - lba, blocks_max);
    const BlockMap* const map = context.command.map;
    if (map == nullptr) return {end - lba, true};
    BlockMap::Extent run = map->extent_at(lba, end);
    for (unsigned pieces = 1; pieces < pieces_max && lba + run.blocks < end; ++pieces) {
        const auto next = map->extent_at(lba + run.blocks, end);
        if (next.mapped != run.mapped) break;
        run.blocks += next.blocks;
    }
    run.blocks = std::min(run.blocks, end - lba);
    return run;
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

// SBC-3 5.6.2. Who knows nothing says "mapped or unknown" of all that follows. As many descriptors
// as the room holds; the initiator asks again from where they end.
Decision decode_get_lba_status(const Context& context) noexcept {
    constexpr std::size_t header_length = 8;
    constexpr std::size_t descriptor_length = 16;
    const auto first = context.field<std::uint64_t>(2);
    if (first >= context.block_count) return out_of_range();
    const auto room = context.room(context.field<std::uint32_t>(10));
    // One at least, for the length it has: what does not fit is cut.
    const std::size_t fitting =
        std::max(room.size(), header_length + descriptor_length) - header_length;
    ByteWriter out(room);
    out.fill(header_length);
    std::uint64_t lba = first;
    std::size_t count = 0;
    while (count < fitting / descriptor_length && lba < context.block_count) {
        const auto run = run_at(context, lba);
        out.big_endian<std::uint64_t>(lba);
        out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(run.blocks));
        out.byte(run.mapped ? 0x00 : 0x01);  // PROVISIONING STATUS
        out.fill(3);
        lba += run.blocks;
        ++count;
    }
    // PARAMETER DATA LENGTH: what follows this field.
    ByteWriter header(room);
    header.big_endian<std::uint32_t>(static_cast<std::uint32_t>(4 + count * descriptor_length));
    return good(out.stored());
}

}  // namespace wnbd::scsi
