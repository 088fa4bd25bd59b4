// SPDX-License-Identifier: LGPL-2.1-or-later
// WRITE SAME (SBC-3).
#include "scsi/decoder.h"
#include "scsi/limits.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint8_t protect_mask = 0xE0;
constexpr std::uint8_t anchor = 0x10;
constexpr std::uint8_t unmap = 0x08;
constexpr std::uint8_t obsolete = 0x06;  // PBDATA, LBDATA
constexpr std::uint8_t ndob = 0x01;      // the 16 byte CDB only

bool all_zeroes(std::span<const std::uint8_t> bytes) noexcept {
    return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

Decision decode_write_same(const Context& context) noexcept {
    const Disk& disk = context.disk;
    const std::uint8_t flags = context.cdb[1];
    const bool no_data_out = context.cdb.size() == 16 && (flags & ndob) != 0;
    // PBDATA and LBDATA once asked for the address to be written into each block. Whoever still
    // asks must hear that this will not happen.
    if ((flags & (protect_mask | obsolete)) != 0) return invalid_field();
    if ((flags & anchor) != 0) return invalid_field();                          // ANC_SUP is zero
    if ((flags & unmap) != 0 && !disk.unmap_supported) return invalid_field();  // LBPWS is zero
    if (disk.read_only) return write_protected();

    const BlockRange range = block_range(context.cdb);
    if (range.blocks == 0) return invalid_field();  // WSNZ is one
    if (!in_range(context.block_count, range.lba, range.blocks)) return out_of_range();
    if (range.blocks > write_same_blocks_max(disk)) return invalid_field();

    BlockRequest request;
    request.action = Action::write_same;
    request.unmap = (flags & unmap) != 0;
    request.lba = range.lba;
    request.blocks = range.blocks;
    request.block_count = context.block_count;
    if (no_data_out) {
        request.zeroes = true;
        return request;
    }
    // One block, no less and no more: several blocks are the mark of a WRITE gone wrong.
    if (context.command.data_length != disk.block_size) return invalid_field();
    if (context.buffer().size() != disk.block_size) return invalid_field();
    request.data_length = disk.block_size;
    request.zeroes = all_zeroes(context.buffer());
    return request;
}

}  // namespace wnbd::scsi
