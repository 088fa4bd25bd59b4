// SPDX-License-Identifier: LGPL-2.1-or-later
// Every command that answers with data: its content, and its truncation to every allocation length
// and every buffer.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "scsi/step.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

struct DataIn {
    const char* name;
    std::function<Bytes(std::uint32_t)> cdb;  // for an allocation length
    std::uint32_t allocation_max;
};

void put_16(Bytes& cdb, std::size_t at, std::uint32_t value) {
    store_big_endian(&cdb[at], static_cast<std::uint16_t>(value));
}

Bytes with_8(Bytes cdb, std::size_t at, std::uint32_t length) {
    cdb[at] = static_cast<std::uint8_t>(length);
    return cdb;
}

Bytes with_16(Bytes cdb, std::size_t at, std::uint32_t length) {
    put_16(cdb, at, length);
    return cdb;
}

Bytes with_32(Bytes cdb, std::size_t at, std::uint32_t length) {
    store_big_endian(&cdb[at], length);
    return cdb;
}

Bytes long_cdb(std::uint8_t opcode, std::uint8_t action, std::size_t length) {
    Bytes cdb(length);
    cdb[0] = opcode;
    cdb[1] = action;
    return cdb;
}

std::vector<DataIn> all_data_in() {
    std::vector<DataIn> list;
    list.push_back(
        {"INQUIRY", [](auto n) { return with_16({0x12, 0, 0, 0, 0, 0}, 3, n); }, 0xFFFF});
    for (const std::uint8_t page : {0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2}) {
        list.push_back({"INQUIRY, page",
                        [page](auto n) { return with_16({0x12, 1, page, 0, 0, 0}, 3, n); },
                        0xFFFF});
    }
    list.push_back({"REQUEST SENSE", [](auto n) { return with_8({3, 0, 0, 0, 0, 0}, 4, n); }, 255});
    list.push_back(
        {"REQUEST SENSE, DESC", [](auto n) { return with_8({3, 1, 0, 0, 0, 0}, 4, n); }, 255});
    list.push_back(
        {"MODE SENSE (6)", [](auto n) { return with_8({0x1A, 0, 0x3F, 0, 0, 0}, 4, n); }, 255});
    list.push_back({"MODE SENSE (10)",
                    [](auto n) {
                        Bytes cdb = long_cdb(0x5A, 0x10, 10);
                        cdb[2] = 0x3F;
                        return with_16(cdb, 7, n);
                    },
                    0xFFFF});
    list.push_back({"READ CAPACITY (16)",
                    [](auto n) { return with_32(long_cdb(0x9E, 0x10, 16), 10, n); }, 0xFFFFFFFF});
    list.push_back({"GET LBA STATUS",
                    [](auto n) { return with_32(long_cdb(0x9E, 0x12, 16), 10, n); }, 0xFFFFFFFF});
    list.push_back(
        {"REPORT LUNS", [](auto n) { return with_32(long_cdb(0xA0, 0, 12), 6, n); }, 0xFFFFFFFF});
    for (const std::uint8_t options : {0x00, 0x80, 0x01, 0x81}) {
        list.push_back({"REPORT SUPPORTED OPERATION CODES",
                        [options](auto n) {
                            Bytes cdb = long_cdb(0xA3, 0x0C, 12);
                            cdb[2] = options;
                            cdb[3] = options == 0x01 || options == 0x81 ? 0x28 : 0;
                            return with_32(cdb, 6, n);
                        },
                        0xFFFFFFFF});
    }
    list.push_back({"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
                    [](auto n) {
                        Bytes cdb = long_cdb(0xA3, 0x0D, 12);
                        cdb[2] = 0x80;
                        return with_32(cdb, 6, n);
                    },
                    0xFFFFFFFF});
    list.push_back({"RECEIVE DIAGNOSTIC RESULTS",
                    [](auto n) { return with_16({0x1C, 1, 0, 0, 0, 0}, 3, n); }, 0xFFFF});
    return list;
}

Disk rich_disk() {
    Disk disk;
    disk.flush_supported = disk.unmap_supported = disk.persistent_reservations_supported = true;
    disk.has_naa = true;
    disk.naa[0] = 0x60;
    std::memset(disk.serial, 's', 255);
    return disk;
}

TEST(DataIn, TruncatesToEveryAllocationLengthAndEveryBuffer) {
    const Disk disk = rich_disk();
    constexpr std::size_t large = 4096;
    for (const DataIn& command : all_data_in()) {
        const auto most = std::min<std::uint32_t>(command.allocation_max, large);
        Ran full = ask(disk, 1000, command.cdb(most), large);
        ASSERT_EQ(full.result, is_good) << command.name;
        ASSERT_LE(full.transferred, most) << command.name;
        ASSERT_GT(full.transferred, 4U) << command.name;
        for (std::uint32_t length = 0; length <= full.transferred; ++length) {
            const Ran by_cdb = ask(disk, 1000, command.cdb(length), large);
            const Ran by_buffer = ask(disk, 1000, command.cdb(most), length);
            for (const Ran& ran : {by_cdb, by_buffer}) {
                ASSERT_EQ(ran.result, is_good) << command.name << ' ' << length;
                ASSERT_EQ(ran.transferred, length) << command.name;
                ASSERT_TRUE(
                    std::equal(ran.data.begin(), ran.data.begin() + length, full.data.begin()))
                    << command.name;
            }
            for (std::size_t i = length; i < large; ++i) {
                ASSERT_EQ(by_cdb.data[i], 0xEE) << command.name << " wrote beyond " << length;
            }
        }
        // The largest allocation length there is transfers what there is, and no more.
        EXPECT_EQ(ask(disk, 1000, command.cdb(command.allocation_max), large).transferred,
                  full.transferred);
    }
}

TEST(ReadCapacity, TenSaysItsLastBlockOrSendsToSixteen) {
    struct Case {
        std::uint64_t blocks;
        std::uint32_t last;
    };
    for (const Case& item : {Case{1, 0}, Case{0x1000, 0xFFF}, Case{0xFFFFFFFF, 0xFFFFFFFE},
                             Case{0x100000000, 0xFFFFFFFF}, Case{0x100000001, 0xFFFFFFFF},
                             Case{~std::uint64_t{0}, 0xFFFFFFFF}}) {
        for (const std::uint32_t block_size : {512U, 4096U}) {
            Disk disk;
            disk.block_size = block_size;
            const Ran ran = ask(disk, item.blocks, Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 64);
            ASSERT_EQ(ran.result, is_good);
            ASSERT_EQ(ran.transferred, 8U);
            EXPECT_EQ(load_big_endian<std::uint32_t>(&ran.data[0]), item.last);
            EXPECT_EQ(load_big_endian<std::uint32_t>(&ran.data[4]), block_size);
        }
    }
}

TEST(ReadCapacity, TenFitsEveryBuffer) {
    for (std::size_t length = 0; length < 12; ++length) {
        const Ran ran = ask({}, 1000, Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, length);
        EXPECT_EQ(ran.result, is_good);
        EXPECT_EQ(ran.transferred, std::min<std::size_t>(length, 8));
    }
}

TEST(ReadCapacity, SixteenSaysBlockSizesAndProvisioning) {
    Disk disk;
    disk.physical_block_exponent = 3;
    const Bytes cdb = with_32(long_cdb(0x9E, 0x10, 16), 10, 32);
    Ran ran = ask(disk, 0x123456789A, cdb, 32);
    ASSERT_EQ(ran.transferred, 32U);
    EXPECT_EQ(load_big_endian<std::uint64_t>(&ran.data[0]), 0x1234567899U);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&ran.data[8]), 512U);
    EXPECT_EQ(Bytes(ran.data.begin() + 12, ran.data.begin() + 16), (Bytes{0, 3, 0, 0}));
    disk.unmap_supported = true;
    EXPECT_EQ(ask(disk, 1000, cdb, 32).data[14], 0x80);
    disk.unmap_reads_zeroes = true;
    EXPECT_EQ(ask(disk, 1000, cdb, 32).data[14], 0xC0);
}

TEST(ReadCapacity, DiskOfNoBlocksIsNotReady) {
    EXPECT_EQ(ask({}, 0, Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8).result, 0x020400U);
    EXPECT_EQ(ask({}, 0, with_32(long_cdb(0x9E, 0x10, 16), 10, 32), 32).result, 0x020400U);
}

TEST(GetLbaStatus, ReportsOneMappedRangeToTheEndOfTheDisk) {
    Bytes cdb = with_32(long_cdb(0x9E, 0x12, 16), 10, 24);
    store_big_endian<std::uint64_t>(&cdb[2], 990);
    const Ran ran = ask({}, 1000, cdb, 24);
    ASSERT_EQ(ran.transferred, 24U);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&ran.data[0]), 20U);
    EXPECT_EQ(load_big_endian<std::uint64_t>(&ran.data[8]), 990U);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&ran.data[16]), 10U);
    EXPECT_EQ(ran.data[20], 0);
    const Ran huge = ask({}, std::uint64_t{1} << 40, cdb, 24);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&huge.data[16]), 0xFFFFFFFFU);
}

TEST(GetLbaStatus, RefusesWhatIsBehindTheEnd) {
    for (const std::uint64_t lba : {std::uint64_t{1000}, std::uint64_t{1001}, ~std::uint64_t{0}}) {
        Bytes cdb = with_32(long_cdb(0x9E, 0x12, 16), 10, 24);
        store_big_endian(&cdb[2], lba);
        EXPECT_EQ(ask({}, 1000, cdb, 24).result, is_out_of_range);
    }
}

TEST(GetLbaStatus, AsksWhoCanTellOnlyOnAThinDisk) {
    Bytes cdb = with_32(long_cdb(0x9E, 0x12, 16), 10, 64);
    store_big_endian<std::uint64_t>(&cdb[2], 990);
    const auto decided = [&](const Disk& disk, std::size_t buffer) {
        Bytes data(buffer);
        return decode(disk, 1000, Command{cdb, data, data.size()});
    };
    Disk disk;
    disk.extents_told = true;
    EXPECT_TRUE(std::holds_alternative<Answer>(decided(disk, 64))) << "all of it is mapped";
    disk.unmap_supported = true;
    const Decision asks = decided(disk, 40);
    const auto* const request = std::get_if<BlockRequest>(&asks);
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->action, Action::get_lba_status);
    EXPECT_EQ(request->data_length, 40U);
    const Step step = first_step(disk, *request);
    EXPECT_EQ(step.verb, Verb::get_lba_status);
    EXPECT_EQ(step.lba, 990U);
    EXPECT_EQ(step.block_count, 1000U);
    EXPECT_FALSE(next_step(disk, *request, step));
    EXPECT_TRUE(std::holds_alternative<Answer>(decided(disk, 0)));
    store_big_endian<std::uint64_t>(&cdb[2], 1000);
    EXPECT_EQ(outcome(decided(disk, 64)), is_out_of_range);
    disk.extents_told = false;
    store_big_endian<std::uint64_t>(&cdb[2], 990);
    EXPECT_TRUE(std::holds_alternative<Answer>(decided(disk, 64)));
}

TEST(ReportLuns, ListsLunZeroAndNoWellKnownUnit) {
    Bytes cdb = with_32(long_cdb(0xA0, 0, 12), 6, 64);
    for (const std::uint8_t select : {0, 2}) {
        cdb[2] = select;
        const Ran ran = ask({}, 1000, cdb, 64);
        EXPECT_EQ(ran.transferred, 16U);
        EXPECT_EQ(load_big_endian<std::uint32_t>(ran.data.data()), 8U);
        EXPECT_EQ(load_big_endian<std::uint64_t>(&ran.data[8]), 0U);
    }
    cdb[2] = 1;
    EXPECT_EQ(ask({}, 1000, cdb, 64).transferred, 8U);
    for (const std::uint8_t select : {3, 0x10, 0x11, 0x12, 0xFF}) {
        cdb[2] = select;
        EXPECT_EQ(ask({}, 1000, cdb, 64).result, is_invalid_field);
    }
}

TEST(RequestSense, HasNothingToSayInBothFormats) {
    const Ran fixed = ask({}, 1000, {0x03, 0, 0, 0, 252, 0}, 252);
    EXPECT_EQ(fixed.transferred, 18U);
    EXPECT_EQ(fixed.data[0], 0x70);
    EXPECT_EQ(fixed.data[2], 0x00);
    const Ran descriptor = ask({}, 1000, {0x03, 1, 0, 0, 252, 0}, 252);
    EXPECT_EQ(descriptor.transferred, 8U);
    EXPECT_EQ(descriptor.data[0], 0x72);
}

TEST(ReadDefectData, ReportsEmptyListsInTheFormatAskedFor) {
    const Ran ten = ask({}, 1000, {0x37, 0, 0x1D, 0, 0, 0, 0, 0, 32, 0}, 32);
    EXPECT_EQ(ten.transferred, 4U);
    EXPECT_EQ(ten.data[1], 0x1D);
    EXPECT_EQ(load_big_endian<std::uint16_t>(&ten.data[2]), 0U);
    const Ran twelve = ask({}, 1000, {0xB7, 0x10, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, 32);
    EXPECT_EQ(twelve.transferred, 8U);
    EXPECT_EQ(twelve.data[1], 0x10);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&twelve.data[4]), 0U);
    EXPECT_EQ(ask({}, 1000, {0x37, 0, 0x02, 0, 0, 0, 0, 0, 32, 0}, 32).result, is_invalid_field);
}

TEST(UnitCommands, StartStopFlushesOnStopAndKnowsNoOtherPowerCondition) {
    Disk disk;
    const auto start_stop = [&disk](std::uint8_t byte4, std::uint8_t modifier = 0) {
        return ask(disk, 1000, Bytes{0x1B, 0, 0, modifier, byte4, 0}, 0).result;
    };
    EXPECT_EQ(start_stop(0x00), is_good);
    EXPECT_EQ(start_stop(0x01), is_good);
    EXPECT_EQ(start_stop(0x02), is_invalid_field);  // eject
    EXPECT_EQ(start_stop(0x03), is_invalid_field);  // load
    EXPECT_EQ(start_stop(0x10), is_good);           // active
    EXPECT_EQ(start_stop(0x10, 1), is_invalid_field);
    for (unsigned condition = 2; condition < 16; ++condition) {
        EXPECT_EQ(start_stop(static_cast<std::uint8_t>(condition << 4)), is_invalid_field);
    }
    disk.flush_supported = true;
    EXPECT_EQ(start_stop(0x00), is_block_request);
    EXPECT_EQ(start_stop(0x04), is_good);  // NO_FLUSH
    EXPECT_EQ(start_stop(0x01), is_good);
    disk.read_only = true;
    EXPECT_EQ(start_stop(0x00), is_good);
}

TEST(UnitCommands, RemovalAndDiagnosticsAcceptTheirDefaultsOnly) {
    for (std::uint8_t prevent = 0; prevent < 4; ++prevent) {
        EXPECT_EQ(ask({}, 1000, {0x1E, 0, 0, 0, prevent, 0}, 0).result,
                  prevent < 2 ? is_good : is_invalid_field);
    }
    EXPECT_EQ(ask({}, 1000, {0x1D, 0x04, 0, 0, 0, 0}, 0).result, is_good);
    EXPECT_EQ(ask({}, 1000, {0x1D, 0x00, 0, 0, 0, 0}, 0).result, is_good);
    EXPECT_EQ(ask({}, 1000, {0x1D, 0x20, 0, 0, 0, 0}, 0).result, is_invalid_field);
    EXPECT_EQ(ask({}, 1000, {0x1C, 0x01, 0x40, 0, 64, 0}, 64).result, is_invalid_field);
    EXPECT_EQ(ask({}, 1000, {0x00, 0, 0, 0, 0, 0}, 0).result, is_good);
}

TEST(UnitCommands, TheListOfDiagnosticPagesCanBeSentFor) {
    const auto send = [](std::uint8_t byte1, Bytes list, std::uint8_t length) {
        const Bytes cdb{0x1D, byte1, 0, 0, length, 0};
        const Decision decision = decode({}, 1000, Command{cdb, list, list.size()});
        if (outcome(decision) == is_good) {
            EXPECT_EQ(std::get<Answer>(decision).transferred, length);
        }
        return outcome(decision);
    };
    EXPECT_EQ(send(0x10, {0, 0, 0, 0}, 4), is_good);
    EXPECT_EQ(send(0x10, {0x80, 0, 0, 0}, 4), is_invalid_list) << "another page";
    EXPECT_EQ(send(0x10, {0, 0, 0, 1}, 4), is_invalid_list) << "a page length";
    EXPECT_EQ(send(0x10, {0, 0, 0, 0}, 3), is_list_length_error);
    EXPECT_EQ(send(0x10, {0, 0, 0, 0, 0, 0, 0, 0}, 8), is_list_length_error);
    EXPECT_EQ(send(0x10, {0, 0, 0}, 4), is_invalid_field) << "more than the buffer holds";
    EXPECT_EQ(send(0x00, {0, 0, 0, 0}, 4), is_invalid_field) << "a vendor's own format";
    EXPECT_EQ(send(0x14, {0, 0, 0, 0}, 4), is_invalid_field) << "with the self-test";
    for (const std::uint8_t page_code_valid : {0, 1}) {
        const Ran ran = ask({}, 1000, {0x1C, page_code_valid, 0, 0, 64, 0}, 64);
        EXPECT_EQ(ran.result, is_good);
        EXPECT_EQ(Bytes(ran.data.begin(), ran.data.begin() + 5), (Bytes{0, 0, 0, 1, 0}));
        EXPECT_EQ(ran.transferred, 5U);
    }
}

}  // namespace
}  // namespace wnbd::scsi
