// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint64_t blocks = 0x12345;
constexpr std::uint8_t dbd = 0x08;
constexpr std::uint8_t llbaa = 0x10;

const Bytes caching_cached{0x08, 18, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
const Bytes control{0x0A, 10, 0x02, 0x10, 0, 0, 0, 0, 0, 0, 0, 0};
const Bytes exceptions{0x1C, 10, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0};

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes whole;
    for (const Bytes& part : parts)
        whole.insert(whole.end(), part.begin(), part.end());
    return whole;
}

Disk cached_disk() {
    Disk disk;
    disk.flush_supported = true;
    return disk;
}

Bytes sense_6(std::uint8_t byte1, std::uint8_t page, std::uint8_t subpage = 0,
              std::uint8_t length = 255) {
    return {0x1A, byte1, page, subpage, length, 0};
}

Bytes sense_10(std::uint8_t byte1, std::uint8_t page, std::uint8_t subpage = 0,
               std::uint8_t length = 255) {
    return {0x5A, byte1, page, subpage, 0, 0, 0, 0, length, 0};
}

Bytes got(const Disk& disk, const Bytes& cdb, std::uint64_t block_count = blocks) {
    Ran ran = ask(disk, block_count, cdb, 512);
    EXPECT_EQ(ran.result, is_good);
    ran.data.resize(ran.transferred);
    return ran.data;
}

std::uint32_t asked(const Bytes& cdb) {
    return ask(cached_disk(), blocks, cdb, 512).result;
}

TEST(ModeSense, SixGivesHeaderDescriptorAndPage) {
    EXPECT_EQ(got(cached_disk(), sense_6(0, 0x08)),
              join({{31, 0, 0x10, 8}, {0, 1, 0x23, 0x45, 0, 0, 2, 0}, caching_cached}));
    EXPECT_EQ(got(cached_disk(), sense_6(dbd, 0x08)), join({{23, 0, 0x10, 0}, caching_cached}));
}

TEST(ModeSense, TenGivesLongDescriptorOnlyWhenAsked) {
    Disk disk = cached_disk();
    disk.block_size = 4096;
    const std::uint64_t large = 0x123456789A;
    EXPECT_EQ(
        got(disk, sense_10(0, 0x0A), large),
        join({{0, 26, 0, 0x10, 0, 0, 0, 8}, {0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0x10, 0}, control}));
    EXPECT_EQ(got(disk, sense_10(llbaa, 0x0A), large),
              join({{0, 34, 0, 0x10, 1, 0, 0, 16},
                    {0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9A, 0, 0, 0, 0, 0, 0, 0x10, 0},
                    control}));
    EXPECT_EQ(got(disk, sense_10(llbaa | dbd, 0x0A), large),
              join({{0, 18, 0, 0x10, 0, 0, 0, 0}, control}));
}

TEST(ModeSense, AllPagesAreAscendingWithAndWithoutSubpages) {
    const Bytes all = join(
        {{static_cast<std::uint8_t>(3 + 44), 0, 0x10, 0}, caching_cached, control, exceptions});
    EXPECT_EQ(got(cached_disk(), sense_6(dbd, 0x3F)), all);
    EXPECT_EQ(got(cached_disk(), sense_6(dbd, 0x3F, 0xFF)), all);
}

TEST(ModeSense, DefaultsAreTheCurrentValuesAndNothingIsChangeable) {
    EXPECT_EQ(got(cached_disk(), sense_6(dbd, 0x80 | 0x08)),
              got(cached_disk(), sense_6(dbd, 0x08)));
    const Bytes changeable = got(cached_disk(), sense_6(dbd, 0x40 | 0x3F));
    EXPECT_EQ(changeable, join({{47, 0, 0x10, 0},
                                {0x08, 18},
                                Bytes(18),
                                {0x0A, 10},
                                Bytes(10),
                                {0x1C, 10},
                                Bytes(10)}));
}

TEST(ModeSense, SavedValuesAreRefused) {
    EXPECT_EQ(asked(sense_6(0, 0xC0 | 0x08)), 0x053900U);
    EXPECT_EQ(asked(sense_10(0, 0xC0 | 0x3F)), 0x053900U);
}

TEST(ModeSense, EveryOtherPageAndSubpageIsRefused) {
    for (unsigned page = 0; page < 0x40; ++page) {
        const bool known = page == 0x08 || page == 0x0A || page == 0x1C || page == 0x3F;
        EXPECT_EQ(asked(sense_6(0, static_cast<std::uint8_t>(page))),
                  known ? is_good : is_invalid_field);
        for (const std::uint8_t subpage : {0x01, 0x7F, 0xFE}) {
            EXPECT_EQ(asked(sense_10(0, static_cast<std::uint8_t>(page), subpage)),
                      is_invalid_field);
        }
    }
}

TEST(ModeSense, WriteProtectAndWriteCacheFollowTheDisk) {
    Disk disk;
    EXPECT_EQ(got(disk, sense_6(dbd, 0x08))[2], 0x10);
    EXPECT_EQ(got(disk, sense_6(dbd, 0x08))[6], 0x00);
    disk.read_only = true;
    EXPECT_EQ(got(disk, sense_6(dbd, 0x08))[2], 0x90);
    EXPECT_EQ(got(disk, sense_10(dbd, 0x08))[3], 0x90);
}

Bytes select_6(std::size_t length, std::uint8_t byte1 = 0x10) {
    return {0x15, byte1, 0, 0, static_cast<std::uint8_t>(length), 0};
}

Bytes select_10(std::size_t length, std::uint8_t byte1 = 0x10) {
    return {0x55, byte1, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(length), 0};
}

std::uint32_t select(const Bytes& cdb, Bytes list) {
    return outcome(decode(cached_disk(), blocks, Command{cdb, list, list.size()}));
}

std::uint32_t select_list_6(const Bytes& list) {
    return select(select_6(list.size()), list);
}
std::uint32_t select_list_10(const Bytes& list) {
    return select(select_10(list.size()), list);
}

TEST(ModeSelect, WhatModeSenseGaveIsAccepted) {
    EXPECT_EQ(select_list_6(got(cached_disk(), sense_6(0, 0x3F))), is_good);
    EXPECT_EQ(select_list_6(got(cached_disk(), sense_6(dbd, 0x0A))), is_good);
    EXPECT_EQ(select_list_10(got(cached_disk(), sense_10(llbaa, 0x3F))), is_good);
    EXPECT_EQ(select_list_10(got(cached_disk(), sense_10(dbd, 0x08))), is_good);
}

TEST(ModeSelect, EveryChangedByteOfEveryPageIsRefused) {
    const Bytes list = got(cached_disk(), sense_6(dbd, 0x3F));
    for (std::size_t i = 4; i < list.size(); ++i) {
        Bytes changed = list;
        changed[i] ^= 0x40;
        EXPECT_NE(select_list_6(changed), is_good) << i;
    }
}

TEST(ModeSelect, ChangesAreInvalidFieldsOfTheList) {
    Bytes no_cache = caching_cached;
    no_cache[2] = 0;
    EXPECT_EQ(select_list_6(join({{0, 0, 0, 0}, no_cache})), is_invalid_list);
    EXPECT_EQ(select_list_6(join({{0, 1, 0, 0}, control})), is_invalid_list);  // medium type
    EXPECT_EQ(select_list_6({0, 0, 0, 0, 0x02, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), is_invalid_list);
    EXPECT_EQ(select_list_6({0, 0, 0, 0, 0x3F, 2, 0, 0}), is_invalid_list);
    EXPECT_EQ(select_list_6({0, 0, 0, 0, 0x0A, 2, 0, 0}), is_invalid_list);
}

TEST(ModeSelect, BlockDescriptorMayOnlyRepeatWhatIs) {
    const auto with = [](const Bytes& descriptor) {
        return select_list_6(
            join({{0, 0, 0, static_cast<std::uint8_t>(descriptor.size())}, descriptor}));
    };
    EXPECT_EQ(with({0, 1, 0x23, 0x45, 0, 0, 2, 0}), is_good);
    EXPECT_EQ(with({0, 0, 0, 0, 0, 0, 2, 0}), is_good);
    EXPECT_EQ(with({0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 2, 0}), is_good);
    EXPECT_EQ(with({0, 1, 0x23, 0x46, 0, 0, 2, 0}), is_invalid_list);
    EXPECT_EQ(with({0, 0, 0, 0, 0, 0, 0x10, 0}), is_invalid_list);
    EXPECT_EQ(with({0, 0, 0, 0}), is_invalid_list);
    EXPECT_EQ(select_list_10(join({{0, 0, 0, 0, 0, 0, 0, 16}, Bytes(16)})), is_invalid_list);
    EXPECT_EQ(select_list_10(join({{0, 0, 0, 0, 1, 0, 0, 8}, Bytes(8)})), is_invalid_list);
    EXPECT_EQ(select_list_10({0, 0, 0, 0, 1, 0, 0, 16, 0, 0, 0, 0, 0, 1, 0x23, 0x45,  //
                              0, 0, 0, 0, 0, 0, 2, 0}),
              is_good);
}

TEST(ModeSelect, EveryTruncationIsALengthErrorUnlessItEndsBetweenPages) {
    const Bytes six = got(cached_disk(), sense_6(0, 0x3F));
    for (std::size_t length = 1; length < six.size(); ++length) {
        const bool between = length == 12 || length == 12 + 20 || length == 12 + 32;
        EXPECT_EQ(select_list_6(Bytes(six.begin(), six.begin() + static_cast<long>(length))),
                  between ? is_good : is_list_length_error)
            << length;
    }
    const Bytes ten = got(cached_disk(), sense_10(llbaa, 0x08));
    for (std::size_t length = 1; length < 24; ++length) {
        EXPECT_EQ(select_list_10(Bytes(ten.begin(), ten.begin() + static_cast<long>(length))),
                  is_list_length_error)
            << length;
    }
}

TEST(ModeSelect, FieldsOfTheCdbAreChecked) {
    const Bytes list = got(cached_disk(), sense_6(0, 0x08));
    EXPECT_EQ(select(select_6(list.size(), 0x11), list), is_invalid_field);  // SP
    EXPECT_EQ(select(select_6(list.size(), 0x00), list), is_invalid_field);  // PF zero
    EXPECT_EQ(select(select_6(list.size() + 1), list), is_invalid_field);    // no such buffer
    EXPECT_EQ(select(select_6(0), {}), is_good);
    EXPECT_EQ(select(select_6(0, 0x00), {}), is_good);
}

}  // namespace
}  // namespace wnbd::scsi
