// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests: CDBs by name, and what an answer says in one comparable value.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <vector>

#include "base/big_endian.h"
#include "scsi/command.h"

namespace wnbd::scsi {

using Bytes = std::vector<std::uint8_t>;

/// A READ-like CDB of the length that the opcode's group has.
inline Bytes block_cdb(std::uint8_t opcode, std::uint64_t lba, std::uint32_t blocks,
                       std::uint8_t byte1 = 0) {
    constexpr std::size_t lengths[] = {6, 10, 10, 0, 16, 12, 0, 0};
    Bytes cdb(lengths[opcode >> 5]);
    cdb[0] = opcode;
    switch (cdb.size()) {
        case 6:
            store_big_endian<std::uint16_t>(&cdb[2], static_cast<std::uint16_t>(lba));
            cdb[1] = static_cast<std::uint8_t>(lba >> 16 & 0x1F);
            cdb[4] = static_cast<std::uint8_t>(blocks);
            break;
        case 10:
            store_big_endian(&cdb[2], static_cast<std::uint32_t>(lba));
            store_big_endian(&cdb[7], static_cast<std::uint16_t>(blocks));
            break;
        case 12:
            store_big_endian(&cdb[2], static_cast<std::uint32_t>(lba));
            store_big_endian(&cdb[6], blocks);
            break;
        default:
            store_big_endian(&cdb[2], lba);
            store_big_endian(&cdb[10], blocks);
            break;
    }
    cdb[1] |= byte1;
    return cdb;
}

inline Bytes compare_and_write_cdb(std::uint64_t lba, std::uint8_t blocks, std::uint8_t byte1 = 0) {
    Bytes cdb = block_cdb(0x89, lba, 0, byte1);
    cdb[13] = blocks;
    return cdb;
}

struct Range {
    std::uint64_t lba;
    std::uint32_t blocks;
};

/// An UNMAP parameter list with correct lengths.
inline Bytes unmap_list(const std::vector<Range>& ranges) {
    Bytes list(8 + 16 * ranges.size());
    store_big_endian(&list[0], static_cast<std::uint16_t>(list.size() - 2));
    store_big_endian(&list[2], static_cast<std::uint16_t>(16 * ranges.size()));
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        store_big_endian(&list[8 + 16 * i], ranges[i].lba);
        store_big_endian(&list[16 + 16 * i], ranges[i].blocks);
    }
    return list;
}

inline Bytes unmap_cdb(std::size_t list_length, std::uint8_t byte1 = 0) {
    Bytes cdb{0x42, byte1, 0, 0, 0, 0, 0, 0, 0, 0};
    store_big_endian(&cdb[7], static_cast<std::uint16_t>(list_length));
    return cdb;
}

/// Status and sense as KEY/ASC/ASCQ in one number: 0x052400 is "invalid field in CDB". GOOD is 0.
inline std::uint32_t outcome(const Answer& answer) {
    if (answer.status == Status::good) return 0;
    if (answer.status != Status::check_condition) {
        return 0xFF000000U | static_cast<std::uint32_t>(answer.status);
    }
    return static_cast<std::uint32_t>(answer.sense.key) << 16 |
           static_cast<std::uint32_t>(answer.sense.asc) << 8 | answer.sense.ascq;
}

constexpr std::uint32_t is_good = 0;
constexpr std::uint32_t is_block_request = 0xFFFFFFFFU;
constexpr std::uint32_t is_reservation_command = 0xFFFFFFFEU;
constexpr std::uint32_t is_conflict = 0xFF000018U;
constexpr std::uint32_t is_invalid_opcode = 0x052000;
constexpr std::uint32_t is_out_of_range = 0x052100;
constexpr std::uint32_t is_invalid_field = 0x052400;
constexpr std::uint32_t is_invalid_list = 0x052600;
constexpr std::uint32_t is_list_length_error = 0x051A00;
constexpr std::uint32_t is_write_protected = 0x072700;
constexpr std::uint32_t is_miscompare = 0x0E1D00;

inline std::uint32_t outcome(const Decision& decision) {
    if (const auto* const answer = std::get_if<Answer>(&decision)) return outcome(*answer);
    return std::holds_alternative<BlockRequest>(decision) ? is_block_request
                                                          : is_reservation_command;
}

/// A command with a buffer of its own, of exactly `data_length` bytes.
struct Ran {
    std::uint32_t result = 0;
    std::size_t transferred = 0;
    Bytes data;
};

inline Ran ask(const Disk& disk, std::uint64_t block_count, const Bytes& cdb,
               std::size_t data_length) {
    Ran ran;
    ran.data.assign(data_length, 0xEE);
    const Decision decision = decode(disk, block_count, Command{cdb, ran.data, data_length});
    ran.result = outcome(decision);
    if (const auto* const answer = std::get_if<Answer>(&decision)) {
        ran.transferred = answer->transferred;
    }
    return ran;
}

}  // namespace wnbd::scsi
