// SPDX-License-Identifier: LGPL-2.1-or-later
// READ, WRITE, VERIFY and their kin: opcode x length x boundary LBA x block size x buffer.
#include <gtest/gtest.h>

#include "scsi/limits.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

struct BlockCommand {
    std::uint8_t opcode;
    Action action;
    bool writes;
    bool has_fua;
};

constexpr BlockCommand commands[] = {
    {0x08, Action::read, false, false},
    {0x28, Action::read, false, true},
    {0xA8, Action::read, false, true},
    {0x88, Action::read, false, true},
    {0x0A, Action::write, true, false},
    {0x2A, Action::write, true, true},
    {0xAA, Action::write, true, true},
    {0x8A, Action::write, true, true},
    {0x2E, Action::write_and_verify, true, false},
    {0xAE, Action::write_and_verify, true, false},
    {0x8E, Action::write_and_verify, true, false},
    {0x2F, Action::verify, false, false},
    {0xAF, Action::verify, false, false},
    {0x8F, Action::verify, false, false},
};

struct Field {
    std::uint64_t lba_max;
    std::uint64_t blocks_max;
};

Field field_of(std::uint8_t opcode) {
    switch (opcode >> 5) {
        case 0: return {0x1FFFFF, 256};
        case 1: return {0xFFFFFFFF, 0xFFFF};
        case 5: return {0xFFFFFFFF, 0xFFFFFFFF};
        default: return {~std::uint64_t{0}, 0xFFFFFFFF};
    }
}

std::uint32_t expected(const BlockCommand& command, const Disk& disk, std::uint64_t capacity,
                       std::uint64_t lba, std::uint64_t blocks, std::size_t data_length) {
    const bool in_capacity = lba <= capacity && blocks <= capacity - lba;
    if (!in_capacity) return is_out_of_range;
    if (blocks > transfer_blocks_max(disk)) return is_invalid_field;
    const bool moves_data = command.action != Action::verify;
    if (moves_data && blocks * disk.block_size > data_length) return is_invalid_field;
    return blocks == 0 ? is_good : is_block_request;
}

void check(const BlockCommand& command, const Disk& disk, std::uint64_t capacity, std::uint64_t lba,
           std::uint64_t blocks, std::size_t data_length) {
    const Field field = field_of(command.opcode);
    if (lba > field.lba_max || blocks > field.blocks_max) return;
    if (command.opcode < 0x20 && blocks == 0) return;  // means 256; has a test of its own
    const Bytes cdb = block_cdb(command.opcode, lba, static_cast<std::uint32_t>(blocks));
    const Decision decision = decode(disk, capacity, Command{cdb, {}, data_length});
    ASSERT_EQ(outcome(decision), expected(command, disk, capacity, lba, blocks, data_length))
        << std::hex << int{command.opcode} << " capacity " << capacity << " lba " << lba
        << " blocks " << blocks << " data " << data_length;
    if (const auto* const request = std::get_if<BlockRequest>(&decision)) {
        ASSERT_EQ(request->action, command.action);
        ASSERT_EQ(request->lba, lba);
        ASSERT_EQ(request->blocks, blocks);
        ASSERT_EQ(request->block_count, capacity);
        const std::uint64_t bytes = command.action == Action::verify ? 0 : blocks * disk.block_size;
        ASSERT_EQ(request->data_length, bytes);
        ASSERT_FALSE(request->force_unit_access);
    }
}

TEST(BlockCommands, EveryBoundaryIsHeld) {
    constexpr std::uint64_t capacities[] = {
        1,          2,           0x100,       0x1FFFFF,   0x200000,         0x200001,
        0xFFFFFFFF, 0x100000000, 0x100000001, 1ULL << 52, ~std::uint64_t{0}};
    constexpr std::uint64_t lengths[] = {0,       1,       2,        8,          255,
                                         256,     0x1FFF,  0x2000,   0x2001,     0xFFFF,
                                         0x10000, 0x10001, 0x800000, 0x80000000, 0xFFFFFFFF};
    for (const std::uint32_t block_size : {512U, 4096U}) {
        Disk disk;
        disk.block_size = block_size;
        for (const BlockCommand& command : commands) {
            for (const std::uint64_t capacity : capacities) {
                for (const std::uint64_t length : lengths) {
                    const std::uint64_t end = capacity - length;  // wraps for lengths above
                    for (const std::uint64_t lba :
                         {std::uint64_t{0}, std::uint64_t{1}, end - 1, end, end + 1, capacity - 1,
                          capacity, capacity + 1, ~std::uint64_t{0}}) {
                        const std::uint64_t bytes = length * block_size;
                        for (const std::uint64_t data :
                             {std::uint64_t{0}, bytes == 0 ? 0 : bytes - 1, bytes, bytes + 1}) {
                            check(command, disk, capacity, lba, length, data);
                            if (HasFatalFailure()) return;
                        }
                    }
                }
            }
        }
    }
}

TEST(BlockCommands, SixByteLengthOfZeroIsTwoHundredFiftySixBlocks) {
    for (const std::uint8_t opcode : {0x08, 0x0A}) {
        const Bytes cdb = block_cdb(opcode, 10, 0);
        const Decision decision = decode({}, 1000, Command{cdb, {}, std::size_t{256} * 512});
        ASSERT_EQ(outcome(decision), is_block_request);
        EXPECT_EQ(std::get_if<BlockRequest>(&decision)->blocks, 256U);
        EXPECT_EQ(outcome(decode({}, 1000, Command{cdb, {}, std::size_t{256} * 512 - 1})),
                  is_invalid_field);
        EXPECT_EQ(outcome(decode({}, 265, Command{cdb, {}, std::size_t{256} * 512})),
                  is_out_of_range);
    }
}

TEST(BlockCommands, SixByteAddressHasTwentyOneBits) {
    const Bytes cdb{0x08, 0xFF, 0xFF, 0xFF, 1, 0};
    const Decision decision = decode({}, 1ULL << 32, Command{cdb, {}, 512});
    ASSERT_EQ(outcome(decision), is_block_request);
    EXPECT_EQ(std::get_if<BlockRequest>(&decision)->lba, 0x1FFFFFU);
}

TEST(BlockCommands, ReadOnlyDiskProtectsItsBlocksInEveryWrite) {
    Disk disk;
    disk.read_only = true;
    disk.unmap_supported = true;
    for (const BlockCommand& command : commands) {
        const Bytes cdb = block_cdb(command.opcode, 0, 1);
        EXPECT_EQ(outcome(decode(disk, 1000, Command{cdb, {}, 512})),
                  command.writes ? is_write_protected : is_block_request);
    }
    EXPECT_EQ(ask(disk, 1000, compare_and_write_cdb(0, 1), 1024).result, is_write_protected);
    EXPECT_EQ(ask(disk, 1000, block_cdb(0x41, 0, 1), 512).result, is_write_protected);
    EXPECT_EQ(ask(disk, 1000, block_cdb(0x93, 0, 1, 0x09), 0).result, is_write_protected);
    EXPECT_EQ(ask(disk, 1000, unmap_cdb(24), 24).result, is_write_protected);
}

TEST(BlockCommands, ProtectionInformationIsRefused) {
    for (const std::uint8_t opcode :
         {0x28, 0xA8, 0x88, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E, 0x2F, 0xAF, 0x8F, 0x41, 0x93}) {
        for (unsigned protect = 1; protect < 8; ++protect) {
            const Bytes cdb = block_cdb(opcode, 0, 1, static_cast<std::uint8_t>(protect << 5));
            EXPECT_EQ(ask({}, 1000, cdb, 512).result, is_invalid_field) << int{opcode};
        }
    }
    EXPECT_EQ(ask({}, 1000, compare_and_write_cdb(0, 1, 0x20), 1024).result, is_invalid_field);
}

TEST(BlockCommands, FuaAndDpoAreAcceptedAndFuaIsKept) {
    for (const BlockCommand& command : commands) {
        if (!command.has_fua) continue;
        const Bytes cdb = block_cdb(command.opcode, 0, 1, 0x18);
        const Decision decision = decode({}, 1000, Command{cdb, {}, 512});
        ASSERT_EQ(outcome(decision), is_block_request);
        EXPECT_TRUE(std::get_if<BlockRequest>(&decision)->force_unit_access);
    }
}

TEST(Verify, ByteCheckDecidesHowMuchDataTakesPart) {
    for (const std::uint8_t opcode : {0x2F, 0xAF, 0x8F}) {
        const auto length = [opcode](std::uint8_t byte1, std::size_t data) {
            const Bytes cdb = block_cdb(opcode, 0, 4, byte1);
            const Decision decision = decode({}, 1000, Command{cdb, {}, data});
            const auto* const request = std::get_if<BlockRequest>(&decision);
            return request != nullptr ? static_cast<long>(request->data_length) : -1L;
        };
        EXPECT_EQ(length(0x00, 0), 0);
        EXPECT_EQ(length(0x02, 4UL * 512), 4L * 512);
        EXPECT_EQ(length(0x02, 4UL * 512 - 1), -1);
        EXPECT_EQ(length(0x06, 512), 512);
        EXPECT_EQ(length(0x06, 511), -1);
        EXPECT_EQ(length(0x04, 4UL * 512), -1);  // reserved
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 0, 0x06), 0).result, is_good);
    }
}

TEST(WriteAndVerify, KnowsTwoByteChecks) {
    for (const std::uint8_t opcode : {0x2E, 0xAE, 0x8E}) {
        for (std::uint8_t byte_check = 0; byte_check < 4; ++byte_check) {
            const Bytes cdb = block_cdb(opcode, 0, 1, static_cast<std::uint8_t>(byte_check << 1));
            EXPECT_EQ(ask({}, 1000, cdb, 512).result,
                      byte_check < 2 ? is_block_request : is_invalid_field);
        }
    }
}

TEST(ShortOffers, AreWrittenInWholeBlocksWhereTheHostAllowsThem) {
    const Disk disk;
    const auto ask_with = [&](const Bytes& cdb, std::size_t offered, bool may) {
        return decode(
            disk, 100,
            Command{
                .cdb = cdb, .data = {}, .data_length = offered, .nexus = 0, .may_fall_short = may});
    };
    for (const std::uint8_t opcode : {0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E}) {
        SCOPED_TRACE(int{opcode});
        const Bytes cdb = block_cdb(opcode, 5, 3);
        EXPECT_EQ(outcome(ask_with(cdb, 2 * 512, false)), is_invalid_field);
        const Decision two = ask_with(cdb, 2 * 512 + 100, true);
        ASSERT_EQ(outcome(two), is_block_request);
        EXPECT_EQ(std::get<BlockRequest>(two).blocks, 2U);
        EXPECT_EQ(std::get<BlockRequest>(two).data_length, 2U * 512);
        EXPECT_EQ(outcome(ask_with(cdb, 511, true)), is_good);
        const Decision all = ask_with(cdb, 10 * 512, true);
        EXPECT_EQ(std::get<BlockRequest>(all).blocks, 3U);
        EXPECT_EQ(outcome(ask_with(block_cdb(opcode, 98, 3), 512, true)), is_out_of_range)
            << "the CDB's range counts";
    }
    EXPECT_EQ(outcome(ask_with(compare_and_write_cdb(0, 1), 512, true)), is_invalid_field);
    EXPECT_EQ(outcome(ask_with(block_cdb(0x2F, 0, 2, 0x02), 512, true)), is_invalid_field);
}

TEST(CompareAndWrite, NeedsTwiceItsBlocksAndNoMore) {
    EXPECT_EQ(ask({}, 1000, compare_and_write_cdb(0, 0), 0).result, is_good);
    EXPECT_EQ(ask({}, 1000, compare_and_write_cdb(0, 0), 1024).result, is_invalid_field);
    EXPECT_EQ(ask({}, 1000, compare_and_write_cdb(1001, 0), 0).result, is_out_of_range);
    for (const unsigned blocks : {1U, 2U, 255U}) {
        const auto cdb = compare_and_write_cdb(0, static_cast<std::uint8_t>(blocks));
        const std::size_t bytes = 2UL * blocks * 512;
        EXPECT_EQ(ask({}, 1000, cdb, bytes).result, is_block_request);
        EXPECT_EQ(ask({}, 1000, cdb, bytes - 1).result, is_invalid_field);
        EXPECT_EQ(ask({}, 1000, cdb, bytes + 1).result, is_invalid_field);
        EXPECT_EQ(ask({}, blocks - 1, cdb, bytes).result, is_out_of_range);
    }
}

TEST(SynchronizeCache, FlushesOnlyWhatCanBeCached) {
    for (const std::uint8_t opcode : {0x35, 0x91}) {
        Disk disk;
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 0, 0), 0).result, is_good);
        disk.flush_supported = true;
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 0, 0), 0).result, is_block_request);
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 10, 0, 0x02), 0).result, is_block_request);
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 10, 990), 0).result, is_block_request);
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 10, 991), 0).result, is_out_of_range);
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 1001, 0), 0).result, is_out_of_range);
        disk.read_only = true;
        EXPECT_EQ(ask(disk, 1000, block_cdb(opcode, 0, 0), 0).result, is_good);
    }
    Disk disk;
    disk.flush_supported = true;
    // The whole of a range that 32 bits of bytes could not hold.
    EXPECT_EQ(ask(disk, 1ULL << 40, block_cdb(0x91, 1ULL << 39, 0xFFFFFFFF), 0).result,
              is_block_request);
}

TEST(Prefetch, ChecksItsRangeAndClaimsNoCache) {
    for (const std::uint8_t opcode : {0x34, 0x90}) {
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 1000, 0x02), 0).result, is_good);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 0), 0).result, is_good);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 1, 1000), 0).result, is_out_of_range);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 1001, 0), 0).result, is_out_of_range);
    }
}

TEST(WriteSame, ChecksFlagsRangeAndBuffer) {
    Disk thin;
    thin.unmap_supported = true;
    for (const std::uint8_t opcode : {0x41, 0x93}) {
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 1), 512).result, is_block_request);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 1), 511).result, is_invalid_field);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 1), 1024).result, is_invalid_field);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 999, 2), 512).result, is_out_of_range);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 0), 512).result, is_invalid_field);
        EXPECT_EQ(ask({}, 1000, block_cdb(opcode, 0, 1, 0x08), 512).result, is_invalid_field);
        EXPECT_EQ(ask(thin, 1000, block_cdb(opcode, 0, 1, 0x08), 512).result, is_block_request);
        EXPECT_EQ(ask(thin, 1000, block_cdb(opcode, 0, 1, 0x18), 512).result, is_invalid_field);
        EXPECT_EQ(ask(thin, 1000, block_cdb(opcode, 0, 1, 0x02), 512).result, is_invalid_field);
        EXPECT_EQ(ask(thin, 1000, block_cdb(opcode, 0, 1, 0x04), 512).result, is_invalid_field);
    }
    EXPECT_EQ(ask({}, 1000, block_cdb(0x93, 0, 1, 0x01), 0).result, is_block_request);  // NDOB
    EXPECT_EQ(ask({}, 1000, block_cdb(0x41, 0, 1, 0x01), 0).result, is_invalid_field);
}

TEST(Disk, OnlySoundDescriptionsAreWellFormed) {
    EXPECT_TRUE(well_formed(Disk{}));
    for (const std::uint32_t block_size : {0U, 1U, 511U, 1024U, 8192U}) {
        Disk disk;
        disk.block_size = block_size;
        EXPECT_FALSE(well_formed(disk));
    }
    Disk disk;
    disk.max_unmap_descriptors_per_step = 0;
    EXPECT_FALSE(well_formed(disk));
    disk = Disk{};
    disk.max_transfer_length = 4096;
    EXPECT_FALSE(well_formed(disk));
    disk = Disk{};
    disk.physical_block_exponent = 16;
    EXPECT_FALSE(well_formed(disk));
}

}  // namespace
}  // namespace wnbd::scsi
