// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/transfer.h"

#include "scsi/limits.h"
#include "scsi/operations.h"

namespace wnbd::scsi {
namespace {

using Direction = Transfer::Direction;

template <typename T>
std::uint32_t field(std::span<const std::uint8_t> cdb, std::size_t offset) noexcept {
    return load_big_endian<T>(cdb.data() + offset);
}

Transfer in(std::uint32_t allocation_length) noexcept {
    const auto bytes = std::min(allocation_length, parameter_bytes_max);
    return bytes == 0 ? Transfer{} : Transfer{Direction::in, bytes};
}

Transfer out(std::uint32_t list_length) noexcept {
    if (list_length == 0 || list_length > parameter_bytes_max) return {};
    return {Direction::out, list_length};
}

Transfer blocks(const Disk& disk, Direction direction, std::uint64_t count,
                std::uint32_t times = 1) noexcept {
    if (count == 0 || count > transfer_blocks_max(disk)) return {};
    return {direction, static_cast<std::uint32_t>(count * times * disk.block_size)};
}

Transfer verify(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept {
    const auto count = block_range(cdb).blocks;
    switch ((cdb[1] >> 1) & 0x03) {
        case 1: return blocks(disk, Direction::out, count);
        case 3: return blocks(disk, Direction::out, count == 0 ? 0 : 1);
        default: return {};
    }
}

Transfer write_same(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept {
    const bool no_data_out = cdb.size() == 16 && (cdb[1] & 0x01) != 0;
    return no_data_out ? Transfer{} : blocks(disk, Direction::out, 1);
}

}  // namespace

Transfer transfer_of(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept {
    if (cdb.empty()) return {};
    bool opcode_known = false;
    const Operation* const operation = find_operation(disk, cdb, opcode_known);
    if (operation == nullptr || cdb.size() < operation->cdb_length) return {};
    cdb = cdb.first(operation->cdb_length);
    switch (operation->data) {
        case Data::none: break;
        case Data::in_blocks: return blocks(disk, Direction::in, block_range(cdb).blocks);
        case Data::in_capacity: return in(8);
        case Data::in_byte_4: return in(cdb[4]);
        case Data::in_word_3: return in(field<std::uint16_t>(cdb, 3));
        case Data::in_word_7: return in(field<std::uint16_t>(cdb, 7));
        case Data::in_long_6: return in(field<std::uint32_t>(cdb, 6));
        case Data::in_long_10: return in(field<std::uint32_t>(cdb, 10));
        case Data::out_blocks: return blocks(disk, Direction::out, block_range(cdb).blocks);
        case Data::out_verify: return verify(disk, cdb);
        case Data::out_compare_and_write: return blocks(disk, Direction::out, cdb[13], 2);
        case Data::out_write_same: return write_same(disk, cdb);
        case Data::out_byte_4: return out(cdb[4]);
        case Data::out_word_3: return out(field<std::uint16_t>(cdb, 3));
        case Data::out_word_7: return out(field<std::uint16_t>(cdb, 7));
        case Data::out_long_5: return out(field<std::uint32_t>(cdb, 5));
    }
    return {};
}

}  // namespace wnbd::scsi
