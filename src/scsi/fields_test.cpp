// SPDX-License-Identifier: LGPL-2.1-or-later
// Fields that only an unusual disk, or an unusual initiator, shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "scsi/step.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

TEST(Fields, ZeroesAfterUnmapAreNotPromisedByADiskThatUnmapsNothing) {
    Disk disk;
    disk.unmap_reads_zeroes = true;
    Bytes capacity(16);
    capacity[0] = 0x9E;
    capacity[1] = 0x10;
    capacity[13] = 32;
    EXPECT_EQ(ask(disk, 1000, capacity, 32).data[14], 0);
    EXPECT_EQ(ask(disk, 1000, {0x12, 1, 0xB2, 0, 64, 0}, 64).data[5], 0);
}

TEST(Fields, NoPageCodeIsTakenWithoutEvpd) {
    for (unsigned page = 1; page < 256; ++page) {
        EXPECT_EQ(ask({}, 1000, {0x12, 0, static_cast<std::uint8_t>(page), 0, 96, 0}, 96).result,
                  is_invalid_field)
            << page;
    }
}

TEST(Fields, ControlCharactersOfASerialNumberAreReplaced) {
    Disk disk;
    std::strcpy(disk.serial, "a\x01\x1F\x7F~ b");
    const Ran ran = ask(disk, 1000, {0x12, 1, 0x80, 0, 64, 0}, 64);
    ASSERT_EQ(ran.transferred, 4U + 7);
    EXPECT_EQ(std::string(ran.data.begin() + 4, ran.data.begin() + 11), "a???~ b");
}

// MODE SELECT.

constexpr std::uint64_t blocks = 0x2'0000'0000;

std::uint32_t select_10(const Bytes& list) {
    Bytes data = list;
    const Bytes cdb{0x55, 0x10, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(list.size()), 0};
    return outcome(decode({}, blocks, Command{cdb, data, data.size()}));
}

/// A parameter list of one block descriptor; `flags` is byte 4 of the header.
Bytes descriptor_list(std::uint8_t flags, const Bytes& descriptor) {
    Bytes list(8 + descriptor.size());
    list[4] = flags;
    list[7] = static_cast<std::uint8_t>(descriptor.size());
    std::copy(descriptor.begin(), descriptor.end(), list.begin() + 8);
    return list;
}

Bytes long_descriptor(std::uint64_t count, std::uint32_t block_size) {
    Bytes descriptor(16);
    store_big_endian(&descriptor[0], count);
    store_big_endian(&descriptor[12], block_size);
    return descriptor;
}

TEST(Fields, AllOnesAsksForTheWholeDiskInTheWidthOfItsDescriptor) {
    EXPECT_EQ(select_10(descriptor_list(1, long_descriptor(UINT64_MAX, 512))), is_good);
    EXPECT_EQ(select_10(descriptor_list(1, long_descriptor(0, 512))), is_good);
    EXPECT_EQ(select_10(descriptor_list(1, long_descriptor(blocks, 512))), is_good);
    EXPECT_EQ(select_10(descriptor_list(1, long_descriptor(0xFFFFFFFF, 512))), is_invalid_list);
    EXPECT_EQ(select_10(descriptor_list(1, long_descriptor(blocks - 1, 512))), is_invalid_list);
}

TEST(Fields, OnlyTheLonglbaBitMakesADescriptorLong) {
    const Bytes whole{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 2, 0};
    EXPECT_EQ(select_10(descriptor_list(0xFE, whole)), is_good) << "the others are reserved";
    EXPECT_EQ(select_10(descriptor_list(0x01, whole)), is_invalid_list);
}

TEST(Fields, ABlockLengthHasTwentyFourBits) {
    EXPECT_EQ(select_10(descriptor_list(0, {0, 0, 0, 0, 0, 0, 2, 0})), is_good);
    EXPECT_EQ(select_10(descriptor_list(0, {0, 0, 0, 0, 0, 1, 2, 0})), is_invalid_list);
}

// UNMAP.

TEST(Fields, ARangeToUnmapHasSixtyFourBitsOfAddress) {
    Disk disk;
    disk.unmap_supported = true;
    constexpr std::uint64_t many = std::uint64_t{1} << 40;
    Bytes list = unmap_list({{many - 7, 7}});
    const Bytes cdb = unmap_cdb(list.size());
    const Decision decision = decode(disk, many, Command{cdb, list, list.size()});
    const auto* const request = std::get_if<BlockRequest>(&decision);
    ASSERT_NE(request, nullptr);
    const Step step = first_step(disk, *request);
    UnmapDescriptor descriptor{};
    fill_payload(disk, step, list,
                 {reinterpret_cast<std::uint8_t*>(&descriptor), sizeof descriptor});
    EXPECT_EQ(descriptor.lba, many - 7);
    EXPECT_EQ(descriptor.blocks, 7U);
}

}  // namespace
}  // namespace wnbd::scsi
