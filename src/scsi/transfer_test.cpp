// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/transfer.h"

#include <gtest/gtest.h>

#include "scsi/limits.h"
#include "scsi/operations.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

using Direction = Transfer::Direction;

constexpr Transfer nothing{};
constexpr Transfer in(std::uint32_t bytes) {
    return {Direction::in, bytes};
}
constexpr Transfer out(std::uint32_t bytes) {
    return {Direction::out, bytes};
}

Disk thin_disk() {
    Disk disk;
    disk.unmap_supported = true;
    return disk;
}

TEST(Transfers, OfBlocksAreAllOfThem) {
    Disk disk;
    for (const std::uint32_t block_size : {512U, 4096U}) {
        disk.block_size = block_size;
        for (const std::uint8_t opcode : {0x08, 0x28, 0xA8, 0x88})
            EXPECT_EQ(transfer_of(disk, block_cdb(opcode, 0, 7)), in(7 * block_size));
        for (const std::uint8_t opcode : {0x0A, 0x2A, 0xAA, 0x8A, 0x2E, 0xAE, 0x8E})
            EXPECT_EQ(transfer_of(disk, block_cdb(opcode, 0, 7)), out(7 * block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x08, 0, 0)), in(256 * block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x28, 0, 0)), nothing);
        EXPECT_EQ(transfer_of(disk, compare_and_write_cdb(0, 3)), out(6 * block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x93, 0, 1000)), out(block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x93, 0, 1000, 0x01)), nothing) << "NDOB";
        EXPECT_EQ(transfer_of(disk, block_cdb(0x8F, 0, 5, 0x00)), nothing);
        EXPECT_EQ(transfer_of(disk, block_cdb(0x8F, 0, 5, 0x02)), out(5 * block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x8F, 0, 5, 0x06)), out(block_size));
        const std::uint32_t max = transfer_blocks_max(disk);
        EXPECT_EQ(transfer_of(disk, block_cdb(0x88, 0, max)), in(max * block_size));
        EXPECT_EQ(transfer_of(disk, block_cdb(0x88, 0, max + 1)), nothing);
    }
}

TEST(Transfers, OfParameterDataEndAtTheirMaximum) {
    const Disk disk = thin_disk();
    EXPECT_EQ(transfer_of(disk, Bytes{0x12, 0, 0, 0x01, 0x02, 0}), in(0x102));
    EXPECT_EQ(transfer_of(disk, Bytes{0x1A, 0, 0x3F, 0, 0xC0, 0}), in(0xC0));
    EXPECT_EQ(transfer_of(disk, Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}), in(8));
    Bytes capacity(16);
    capacity[0] = 0x9E;
    capacity[1] = 0x10;
    capacity[13] = 32;
    EXPECT_EQ(transfer_of(disk, capacity), in(32));
    capacity[10] = 0xFF;
    EXPECT_EQ(transfer_of(disk, capacity), in(parameter_bytes_max));
    EXPECT_EQ(transfer_of(disk, unmap_cdb(40)), out(40));
    EXPECT_EQ(transfer_of(disk, Bytes{0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0}), out(24));
    EXPECT_EQ(transfer_of(disk, Bytes{0x5F, 0, 0, 0, 0, 0, 0x10, 0, 24, 0}), nothing);
}

TEST(Transfers, OfWhatIsRefusedAreNothing) {
    const Disk disk;
    EXPECT_EQ(transfer_of(disk, {}), nothing);
    EXPECT_EQ(transfer_of(disk, Bytes(16, 0xFF)), nothing);
    EXPECT_EQ(transfer_of(disk, unmap_cdb(40)), nothing) << "a disk that cannot unmap";
    const Bytes read = block_cdb(0x88, 0, 1);
    EXPECT_EQ(transfer_of(disk, std::span(read).first(15)), nothing);
}

/// No command reaches behind the bytes that transfer_of() has named.
TEST(Transfers, AreAllThatACommandNeeds) {
    const Disk disk = thin_disk();
    for (const Operation& operation : all_operations()) {
        if (!available(disk, operation)) continue;
        Bytes cdb(operation.cdb_length);
        cdb[0] = operation.opcode;
        cdb[1] = operation.service_action;
        cdb[operation.cdb_length == 16 ? 13 : operation.cdb_length == 10 ? 8 : 4] = 24;
        if (operation.cdb_length == 12) cdb[9] = 24;
        const Transfer transfer = transfer_of(disk, cdb);
        const Ran exact = ask(disk, 1000, cdb, transfer.bytes);
        const Ran ample = ask(disk, 1000, cdb, 1 << 20);
        const bool size_decides =
            operation.data == Data::out_compare_and_write || operation.data == Data::out_write_same;
        if (!size_decides) {
            EXPECT_EQ(exact.result, ample.result) << int{operation.opcode};
        }
        EXPECT_EQ(exact.transferred, size_decides ? exact.transferred : ample.transferred)
            << int{operation.opcode};
    }
}

}  // namespace
}  // namespace wnbd::scsi
