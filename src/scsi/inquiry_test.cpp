// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "scsi/limits.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint64_t blocks = 1000;

Bytes inquiry_cdb(bool evpd, std::uint8_t page, std::uint16_t length) {
    return {0x12,
            static_cast<std::uint8_t>(evpd ? 1 : 0),
            page,
            static_cast<std::uint8_t>(length >> 8),
            static_cast<std::uint8_t>(length),
            0};
}

Bytes vital_page(const Disk& disk, std::uint8_t page) {
    Ran ran = ask(disk, blocks, inquiry_cdb(true, page, 512), 512);
    EXPECT_EQ(ran.result, is_good);
    ran.data.resize(ran.transferred);
    EXPECT_GE(ran.data.size(), 4U);
    if (ran.data.size() < 4) return Bytes(64);
    EXPECT_EQ(ran.data[1], page);
    EXPECT_EQ(load_big_endian<std::uint16_t>(&ran.data[2]), ran.data.size() - 4);
    return ran.data;
}

void set_serial(Disk& disk, const std::string& serial) {
    std::memcpy(disk.serial, serial.c_str(), std::min(serial.size() + 1, sizeof(disk.serial)));
}

std::string text(const Bytes& bytes, std::size_t offset, std::size_t length) {
    return {bytes.begin() + static_cast<long>(offset),
            bytes.begin() + static_cast<long>(offset + length)};
}

TEST(Inquiry, StandardDataIsPaddedWithSpacesAndNamesItsStandards) {
    const Ran ran = ask({}, blocks, inquiry_cdb(false, 0, 255), 255);
    ASSERT_EQ(ran.result, is_good);
    ASSERT_EQ(ran.transferred, 96U);
    EXPECT_EQ(Bytes(ran.data.begin(), ran.data.begin() + 8),
              (Bytes{0x00, 0x00, 0x06, 0x02, 91, 0x00, 0x00, 0x02}));
    EXPECT_EQ(text(ran.data, 8, 8), "WNBD    ");
    EXPECT_EQ(text(ran.data, 16, 16), "WNBD_DISK       ");
    EXPECT_EQ(text(ran.data, 32, 4), "1.0 ");
    EXPECT_EQ(load_big_endian<std::uint16_t>(&ran.data[58]), 0x00A0);
    EXPECT_EQ(load_big_endian<std::uint16_t>(&ran.data[60]), 0x0460);
    EXPECT_EQ(load_big_endian<std::uint16_t>(&ran.data[62]), 0x04C0);
}

TEST(Inquiry, TextWithoutTerminatorOrOutsideAsciiStaysInItsField) {
    Disk disk;
    std::memset(disk.vendor, 'V', sizeof(disk.vendor));
    std::memset(disk.revision, '\x07', sizeof(disk.revision));
    std::memset(disk.product, '\xC3', sizeof(disk.product));
    const Ran ran = ask(disk, blocks, inquiry_cdb(false, 0, 96), 96);
    EXPECT_EQ(text(ran.data, 8, 8), "VVVVVVVV");
    EXPECT_EQ(text(ran.data, 16, 16), std::string(16, '?'));
    EXPECT_EQ(text(ran.data, 32, 4), "????");
}

TEST(Inquiry, PageCodeWithoutEvpdIsRefused) {
    EXPECT_EQ(ask({}, blocks, inquiry_cdb(false, 0x80, 96), 96).result, is_invalid_field);
}

TEST(Inquiry, CommandSupportDataIsRefused) {
    Bytes cdb = inquiry_cdb(false, 0, 96);
    cdb[1] = 0x02;
    EXPECT_EQ(ask({}, blocks, cdb, 96).result, is_invalid_field);
}

TEST(VitalProductData, ListIsAscendingAndEveryOtherPageIsRefused) {
    const Bytes page = vital_page({}, 0x00);
    const Bytes list(page.begin() + 4, page.end());
    EXPECT_EQ(list, (Bytes{0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2}));
    for (unsigned code = 0; code < 256; ++code) {
        const bool listed = std::ranges::find(list, static_cast<std::uint8_t>(code)) != list.end();
        EXPECT_EQ(
            ask({}, blocks, inquiry_cdb(true, static_cast<std::uint8_t>(code), 512), 512).result,
            listed ? is_good : is_invalid_field)
            << code;
    }
}

TEST(VitalProductData, SerialNumberOfEveryLengthIsWholeAndWithoutTerminator) {
    for (std::size_t length = 1; length <= 255; ++length) {
        Disk disk;
        const std::string serial(length, 'S');
        set_serial(disk, serial);
        const Bytes page = vital_page(disk, 0x80);
        EXPECT_EQ(text(page, 4, page.size() - 4), serial);
    }
}

TEST(VitalProductData, SerialNumberWithoutTerminatorEndsWithItsArray) {
    Disk disk;
    std::memset(disk.serial, 'X', sizeof(disk.serial));
    EXPECT_EQ(vital_page(disk, 0x80).size(), 4U + 256U);
}

TEST(VitalProductData, MissingSerialNumberIsSpaces) {
    const Bytes page = vital_page({}, 0x80);
    EXPECT_EQ(text(page, 4, page.size() - 4), std::string(8, ' '));
}

TEST(VitalProductData, NaaLengthFollowsItsTypeAndTheSerialIsThereToo) {
    struct Case {
        std::uint8_t first;
        std::size_t length;
    };
    for (const Case& item : {Case{0x20, 8}, Case{0x30, 8}, Case{0x50, 8}, Case{0x60, 16}}) {
        Disk disk;
        disk.has_naa = true;
        for (unsigned i = 0; i < 16; ++i)
            disk.naa[i] = static_cast<std::uint8_t>(i);
        disk.naa[0] = item.first;
        set_serial(disk, "image-1");
        const Bytes page = vital_page(disk, 0x83);
        ASSERT_EQ(page.size(), 4 + 4 + item.length + 4 + 8 + 7);
        EXPECT_EQ(Bytes(page.begin() + 4, page.begin() + 8),
                  (Bytes{0x01, 0x03, 0x00, static_cast<std::uint8_t>(item.length)}));
        EXPECT_EQ(page[8], item.first);
        EXPECT_EQ(page[8 + item.length - 1], item.length - 1);
        const std::size_t t10 = 8 + item.length;
        EXPECT_EQ(page[t10], 0x02);
        EXPECT_EQ(page[t10 + 1], 0x01);
        EXPECT_EQ(page[t10 + 3], 8 + 7);
        EXPECT_EQ(text(page, t10 + 4, 15), "WNBD    image-1");
    }
}

TEST(VitalProductData, NaaOfAnUnknownTypeIsLeftOut) {
    for (const unsigned type : {0U, 1U, 4U, 7U, 15U}) {
        Disk disk;
        disk.has_naa = true;
        disk.naa[0] = static_cast<std::uint8_t>(type << 4);
        set_serial(disk, "a");
        EXPECT_EQ(vital_page(disk, 0x83).size(), 4U + 4U + 9U) << type;
    }
}

TEST(VitalProductData, LongSerialKeepsItsEndInTheDesignator) {
    Disk disk;
    set_serial(disk, std::string(254, 'x') + "1");
    const Bytes page = vital_page(disk, 0x83);
    ASSERT_EQ(page.size(), 4U + 4U + 255U);
    EXPECT_EQ(page[7], 255);
    EXPECT_EQ(page.back(), '1');
}

TEST(VitalProductData, Utf8SerialIsMarkedAsSuch) {
    Disk disk;
    set_serial(disk, "\xC3\xA9");
    EXPECT_EQ(vital_page(disk, 0x83)[4], 0x03);
}

TEST(VitalProductData, BlockLimitsSayWhatDecodeAccepts) {
    for (const std::uint32_t block_size : {512U, 4096U}) {
        Disk disk;
        disk.block_size = block_size;
        disk.unmap_supported = true;
        disk.physical_block_exponent = 3;
        const Bytes page = vital_page(disk, 0xB0);
        ASSERT_EQ(page.size(), 64U);
        EXPECT_EQ(page[4], 0x01);
        EXPECT_EQ(page[5], 255);
        EXPECT_EQ(load_big_endian<std::uint16_t>(&page[6]), 8);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&page[12]), (2U << 20) / block_size);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&page[20]), 0xFFFFFFFFU);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&page[24]), 256U);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&page[28]), 8U);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&page[32]), 0x80000000U);

        const auto transfer_max = load_big_endian<std::uint32_t>(&page[8]);
        const std::size_t enough = (std::size_t{transfer_max} + 1) * block_size;
        const std::uint64_t huge = std::uint64_t{1} << 40;
        for (const std::uint8_t opcode : {0x88, 0x8A, 0x8E, 0x8F}) {
            const Bytes most = block_cdb(opcode, 0, transfer_max);
            const Bytes above = block_cdb(opcode, 0, transfer_max + 1);
            EXPECT_EQ(outcome(decode(disk, huge, Command{most, {}, enough})), is_block_request);
            EXPECT_EQ(outcome(decode(disk, huge, Command{above, {}, enough})), is_invalid_field);
        }
        const auto same_max = load_big_endian<std::uint64_t>(&page[36]);
        const auto same = static_cast<std::uint32_t>(same_max);
        EXPECT_EQ(ask(disk, huge, block_cdb(0x93, 0, same), block_size).result, is_block_request);
        EXPECT_EQ(ask(disk, huge, block_cdb(0x93, 0, same + 1), block_size).result,
                  is_invalid_field);
        EXPECT_EQ(ask(disk, huge, block_cdb(0x93, 0, 0), block_size).result, is_invalid_field);
    }
}

TEST(VitalProductData, BlockLimitsWithoutUnmapHaveNoUnmapFields) {
    const Bytes page = vital_page({}, 0xB0);
    EXPECT_TRUE(std::all_of(page.begin() + 20, page.begin() + 36,
                            [](std::uint8_t byte) { return byte == 0; }));
}

TEST(VitalProductData, CharacteristicsSayThatNothingRotates) {
    const Bytes page = vital_page({}, 0xB1);
    ASSERT_EQ(page.size(), 64U);
    EXPECT_EQ(load_big_endian<std::uint16_t>(&page[4]), 1);
    EXPECT_EQ(page[8], 0x03);
}

TEST(VitalProductData, ProvisioningFollowsTheDisk) {
    Disk disk;
    EXPECT_EQ(vital_page(disk, 0xB2), (Bytes{0, 0xB2, 0, 4, 0, 0, 0, 0}));
    disk.unmap_reads_zeroes = true;  // says nothing without unmap
    EXPECT_EQ(vital_page(disk, 0xB2), (Bytes{0, 0xB2, 0, 4, 0, 0, 0, 0}));
    disk.unmap_supported = true;
    EXPECT_EQ(vital_page(disk, 0xB2), (Bytes{0, 0xB2, 0, 4, 0, 0xE4, 2, 0}));
    disk.unmap_reads_zeroes = false;
    EXPECT_EQ(vital_page(disk, 0xB2), (Bytes{0, 0xB2, 0, 4, 0, 0xE0, 2, 0}));
}

}  // namespace
}  // namespace wnbd::scsi
