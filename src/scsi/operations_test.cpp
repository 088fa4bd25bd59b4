// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/operations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint64_t blocks = 1000;

Disk full_disk() {
    Disk disk;
    disk.flush_supported = true;
    disk.unmap_supported = true;
    disk.or_write_supported = true;
    disk.persistent_reservations_supported = true;
    disk.serial[0] = 's';
    return disk;
}

Bytes report_cdb(std::uint8_t options, std::uint8_t opcode = 0, std::uint16_t service_action = 0,
                 std::uint16_t allocation = 0xFFFF) {
    Bytes cdb{0xA3, 0x0C, options, opcode, 0, 0, 0, 0, 0, 0, 0, 0};
    store_big_endian(&cdb[4], service_action);
    store_big_endian(&cdb[8], allocation);
    return cdb;
}

Ran report(const Disk& disk, const Bytes& cdb) {
    Ran ran = ask(disk, blocks, cdb, 4096);
    ran.data.resize(ran.transferred);
    return ran;
}

using Key = std::pair<std::uint8_t, int>;  // opcode, service action or -1

std::map<Key, std::uint16_t> reported(const Disk& disk, bool timeouts) {
    const Ran ran = report(disk, report_cdb(timeouts ? 0x80 : 0x00));
    EXPECT_EQ(ran.result, is_good);
    std::map<Key, std::uint16_t> found;
    const std::size_t step = timeouts ? 20 : 8;
    EXPECT_EQ(load_big_endian<std::uint32_t>(ran.data.data()), ran.data.size() - 4);
    EXPECT_EQ((ran.data.size() - 4) % step, 0U);
    for (std::size_t at = 4; at + step <= ran.data.size(); at += step) {
        const std::uint8_t* const item = &ran.data[at];
        const bool has_action = (item[5] & 1) != 0;
        EXPECT_EQ((item[5] & 2) != 0, timeouts);
        if (timeouts) {
            EXPECT_EQ(load_big_endian<std::uint16_t>(item + 8), 0x0A);
        }
        const Key key{item[0], has_action ? load_big_endian<std::uint16_t>(item + 2) : -1};
        found[key] = load_big_endian<std::uint16_t>(item + 6);
    }
    return found;
}

TEST(Operations, EveryOpcodeIsReportedExactlyWhenItIsNotRefusedAsUnknown) {
    for (const Disk& disk : {Disk{}, full_disk()}) {
        const auto list = reported(disk, false);
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            const bool known = std::ranges::any_of(
                list, [opcode](const auto& item) { return item.first.first == opcode; });
            Bytes cdb(16);
            cdb[0] = static_cast<std::uint8_t>(opcode);
            const std::uint32_t result = ask(disk, blocks, cdb, 4096).result;
            EXPECT_EQ(result != is_invalid_opcode, known) << opcode;
        }
    }
}

TEST(Operations, EveryServiceActionIsReportedExactlyWhenItIsAccepted) {
    const Disk disk = full_disk();
    const auto list = reported(disk, false);
    for (const std::uint8_t opcode : {0x5E, 0x5F, 0x9E, 0xA3}) {
        for (unsigned action = 0; action < 32; ++action) {
            const bool listed = list.contains({opcode, static_cast<int>(action)});
            Bytes cdb(16);
            cdb[0] = opcode;
            cdb[1] = static_cast<std::uint8_t>(action);
            const std::uint32_t result = ask(disk, blocks, cdb, 4096).result;
            if (!listed) {
                EXPECT_EQ(result, is_invalid_field) << int{opcode} << ' ' << action;
            } else if (opcode != 0x5F) {
                EXPECT_EQ(result, is_good) << action;
            }
        }
    }
}

TEST(Operations, CapabilitiesDecideWhichCommandsExist) {
    const auto plain = reported({}, false);
    const auto full = reported(full_disk(), false);
    EXPECT_FALSE(plain.contains({0x42, -1}));
    EXPECT_TRUE(full.contains({0x42, -1}));
    EXPECT_EQ(ask({}, blocks, unmap_cdb(0), 0).result, is_invalid_opcode);
    // Who keeps the reservations decides what can be asked about them.
    EXPECT_FALSE(plain.contains({0x5F, 7}));
    EXPECT_TRUE(full.contains({0x5F, 7}));
    for (const std::uint8_t opcode : {0x16, 0x17, 0x56, 0x57}) {
        EXPECT_TRUE(plain.contains({opcode, -1}));
        EXPECT_FALSE(full.contains({opcode, -1}));
    }
    EXPECT_EQ(full.size(), plain.size() + 1 + 1 + 1 - 4);
}

TEST(Operations, TimeoutsDescriptorsFollowEachCommandWhenAskedFor) {
    EXPECT_EQ(reported(full_disk(), true), reported(full_disk(), false));
}

TEST(Operations, ReserveAndReleaseOfOldAreUnknownWhereTheStorageKeepsReservations) {
    for (const std::uint8_t opcode : {0x16, 0x17, 0x56, 0x57}) {
        Bytes cdb(10);
        cdb[0] = opcode;
        EXPECT_EQ(ask(full_disk(), blocks, cdb, 0).result, is_invalid_opcode);
        EXPECT_EQ(ask({}, blocks, cdb, 0).result, is_reservation_command);
    }
}

TEST(Operations, EmptyAndShortCdbsAreRefused) {
    EXPECT_EQ(ask(full_disk(), blocks, {}, 512).result, is_invalid_opcode);
    for (const auto& [key, length] : reported(full_disk(), false)) {
        for (std::size_t given = 1; given < length; ++given) {
            Bytes cdb(given);
            cdb[0] = key.first;
            if (given > 1 && key.second >= 0) cdb[1] = static_cast<std::uint8_t>(key.second);
            EXPECT_EQ(ask(full_disk(), blocks, cdb, 4096).result, is_invalid_field)
                << int{key.first} << ' ' << given;
        }
    }
}

TEST(Operations, NacaAndLinkAreRefusedInEveryControlByte) {
    for (const auto& [key, length] : reported(full_disk(), false)) {
        for (const std::uint8_t control : {0x04, 0x01}) {
            Bytes cdb(length);
            cdb[0] = key.first;
            if (key.second >= 0) cdb[1] = static_cast<std::uint8_t>(key.second);
            cdb[length - 1U] = control;
            EXPECT_EQ(ask(full_disk(), blocks, cdb, 4096).result, is_invalid_field)
                << int{key.first};
        }
    }
}

TEST(Operations, LongerCdbsAreReadAsFarAsTheirOpcodeGoes) {
    Bytes cdb = block_cdb(0x28, 1, 1);
    cdb.resize(16, 0xFF);
    EXPECT_EQ(ask({}, blocks, cdb, 512).result, is_block_request);
}

TEST(Operations, OneCommandIsReportedWithItsUsageBits) {
    const Disk disk = full_disk();
    for (const auto& [key, length] : reported(disk, false)) {
        const bool has_action = key.second >= 0;
        const auto action = static_cast<std::uint16_t>(has_action ? key.second : 0);
        const std::uint8_t fits = has_action ? 2 : 1;
        const std::uint8_t does_not_fit = has_action ? 1 : 2;
        EXPECT_EQ(report(disk, report_cdb(does_not_fit, key.first, action)).result,
                  is_invalid_field);
        for (const std::uint8_t options : {fits, std::uint8_t{3}}) {
            const Ran ran = report(disk, report_cdb(options, key.first, action));
            ASSERT_EQ(ran.result, is_good);
            ASSERT_EQ(ran.data.size(), 4U + length);
            EXPECT_EQ(ran.data[1], 0x03);
            EXPECT_EQ(load_big_endian<std::uint16_t>(&ran.data[2]), length);
            EXPECT_EQ(ran.data[4], key.first);
            if (has_action) {
                EXPECT_EQ(ran.data[5] & 0x1F, key.second);
            }
            EXPECT_EQ(ran.data.back(), 0x05);
            const Ran with_timeouts = report(
                disk, report_cdb(static_cast<std::uint8_t>(options | 0x80), key.first, action));
            EXPECT_EQ(with_timeouts.data.size(), 4U + length + 12U);
            EXPECT_EQ(with_timeouts.data[1], 0x83);
        }
    }
}

// SBC-3's own tables: which bits of byte 1 mean something, where the LBA is, and the length.
TEST(Operations, TheUsageBitsOfBlockCommandsAreThoseOfTheirFields) {
    constexpr struct {
        std::uint8_t opcode, flags, lba_size, length_at, length_size;
    } layouts[] = {
        {0x28, 0xF8, 4, 7, 2},  {0x2A, 0xF8, 4, 7, 2},  {0x2E, 0xF6, 4, 7, 2},
        {0x2F, 0xF6, 4, 7, 2},  {0x34, 0x02, 4, 7, 2},  {0x35, 0x02, 4, 7, 2},
        {0x41, 0xFE, 4, 7, 2},  {0x88, 0xF8, 8, 10, 4}, {0x89, 0xF8, 8, 13, 1},
        {0x8A, 0xF8, 8, 10, 4}, {0x8B, 0xF8, 8, 10, 4}, {0x8E, 0xF6, 8, 10, 4},
        {0x8F, 0xF6, 8, 10, 4}, {0x90, 0x02, 8, 10, 4}, {0x91, 0x02, 8, 10, 4},
        {0x93, 0xFF, 8, 10, 4}, {0xA8, 0xF8, 4, 6, 4},  {0xAA, 0xF8, 4, 6, 4},
        {0xAE, 0xF6, 4, 6, 4},  {0xAF, 0xF6, 4, 6, 4},
    };
    for (const auto& layout : layouts) {
        const Ran ran = report(full_disk(), report_cdb(1, layout.opcode));
        ASSERT_GT(ran.data.size(), 4U);
        Bytes expected(ran.data.size() - 4);
        expected[0] = layout.opcode;
        expected[1] = layout.flags;
        std::fill_n(&expected[2], layout.lba_size, std::uint8_t{0xFF});
        std::fill_n(&expected[layout.length_at], layout.length_size, std::uint8_t{0xFF});
        expected.back() = 0x05;
        EXPECT_EQ(Bytes(ran.data.begin() + 4, ran.data.end()), expected) << int{layout.opcode};
    }
}

// The length of the parameter list is a field of 16 bits, and the self-test a byte of its own.
TEST(Operations, TheUsageBitsOfSmallCommandsAreThoseOfTheirFields) {
    const Bytes expected[] = {
        {0x00, 0, 0, 0, 0, 0x05},          {0x03, 0x01, 0, 0, 0xFF, 0x05},
        {0x08, 0x1F, 0xFF, 0xFF, 0xFF, 5}, {0x0A, 0x1F, 0xFF, 0xFF, 0xFF, 5},
        {0x12, 0x03, 0xFF, 0xFF, 0xFF, 5}, {0x15, 0x11, 0, 0, 0xFF, 0x05},
        {0x1A, 0x08, 0xFF, 0xFF, 0xFF, 5}, {0x1B, 0, 0, 0x0F, 0xF7, 0x05},
        {0x1C, 0x01, 0xFF, 0xFF, 0xFF, 5}, {0x1D, 0xF4, 0, 0xFF, 0xFF, 0x05},
        {0x1E, 0, 0, 0, 0x03, 0x05},
    };
    for (const auto& usage : expected) {
        const Ran ran = report(full_disk(), report_cdb(1, usage[0]));
        ASSERT_GT(ran.data.size(), 4U);
        EXPECT_EQ(Bytes(ran.data.begin() + 4, ran.data.end()), usage) << int{usage[0]};
    }
}

TEST(Operations, CommandsThatDoNotExistAreReportedAsSuch) {
    for (const std::uint8_t options : {1, 2, 3}) {
        const Ran unknown = report({}, report_cdb(options, 0xC0));
        EXPECT_EQ(unknown.result, is_good);
        EXPECT_EQ(unknown.data, (Bytes{0, 1, 0, 0}));
        EXPECT_EQ(report({}, report_cdb(options, 0x42)).data, (Bytes{0, 1, 0, 0}));
    }
    EXPECT_EQ(report({}, report_cdb(2, 0x9E, 0x11)).data, (Bytes{0, 1, 0, 0}));
    EXPECT_EQ(report({}, report_cdb(3, 0x9E, 0x0110)).data, (Bytes{0, 1, 0, 0}));
    EXPECT_EQ(report({}, report_cdb(3, 0x28, 0x0001)).data, (Bytes{0, 1, 0, 0}));
}

TEST(Operations, ReservedReportingOptionsAreRefused) {
    for (std::uint8_t options = 4; options < 8; ++options) {
        EXPECT_EQ(report({}, report_cdb(options)).result, is_invalid_field);
    }
}

// A bit that the usage map does not claim must not change what a command does.
TEST(Operations, BitsOutsideTheUsageMapAreIgnored) {
    const Disk disk = full_disk();
    for (const Operation& operation : all_operations()) {
        Bytes plain(operation.cdb_length);
        plain[0] = operation.opcode;
        if (operation.has_service_action) plain[1] = operation.service_action;
        const std::uint32_t expected = ask(disk, blocks, plain, 1 << 20).result;
        for (std::size_t byte = 1; byte + 1 < plain.size(); ++byte) {
            const unsigned claimed =
                operation.usage[byte] | (byte == 1 && operation.has_service_action ? 0x1F : 0);
            for (unsigned bit = 0; bit < 8; ++bit) {
                if ((claimed >> bit & 1) != 0) continue;
                Bytes cdb = plain;
                cdb[byte] |= static_cast<std::uint8_t>(1U << bit);
                EXPECT_EQ(ask(disk, blocks, cdb, 1 << 20).result, expected)
                    << int{operation.opcode} << " byte " << byte << " bit " << bit;
            }
        }
    }
}

/// A CDB that moves data: one block, or as many bytes as a parameter list or answer may have.
Bytes moving_cdb(const Operation& operation) {
    Bytes cdb(operation.cdb_length);
    const auto length = [&](std::size_t last_byte) { cdb[last_byte] = 24; };
    switch (operation.data) {
        case Data::none:
        case Data::in_capacity: break;
        case Data::in_blocks:
        case Data::out_blocks:
        case Data::out_write_same: cdb = block_cdb(operation.opcode, 0, 1); break;
        case Data::out_verify: cdb = block_cdb(operation.opcode, 0, 1, 0x02); break;
        case Data::out_compare_and_write: cdb = compare_and_write_cdb(0, 1); break;
        case Data::in_byte_4:
        case Data::out_byte_4:
        case Data::in_word_3:
        case Data::out_word_3: length(4); break;
        case Data::in_word_7:
        case Data::out_word_7:
        case Data::out_long_5: length(8); break;
        case Data::in_long_6: length(9); break;
        case Data::in_long_10: length(13); break;
    }
    cdb[0] = operation.opcode;
    if (operation.has_service_action) cdb[1] = operation.service_action;
    if (operation.opcode == 0x1A || operation.opcode == 0x5A) cdb[2] = 0x3F;  // MODE SENSE
    if (operation.opcode == 0x1C) cdb[1] = 0x01;  // RECEIVE DIAGNOSTIC RESULTS, PCV
    return cdb;
}

/// Whether a command touches the buffer, or would when it runs.
bool uses_buffer(const Disk& disk, const Bytes& cdb, std::size_t size, BufferUse use) {
    Bytes data(size, 0xEE);
    Command command{cdb, data, data.size()};
    command.buffer_use = use;
    const Decision decision = decode(disk, blocks, command);
    if (const auto* const request = std::get_if<BlockRequest>(&decision))
        return request->data_length != 0;
    if (const auto* const reservation = std::get_if<ReservationCommand>(&decision))
        return !reservation->room.empty() || reservation->list_length != 0;
    return std::get<Answer>(decision).transferred != 0 || data != Bytes(size, 0xEE);
}

// What only lets itself be read may not be writable at all, and the other way round.
TEST(Operations, ABufferForTheOtherDirectionIsLeftAlone) {
    for (const Disk& disk : {full_disk(), Disk{}}) {
        for (const Operation& operation : all_operations()) {
            if (!available(disk, operation) || operation.data == Data::none) continue;
            SCOPED_TRACE(int{operation.opcode});
            const Bytes cdb = moving_cdb(operation);
            const std::size_t size =
                operation.data == Data::out_compare_and_write ? 1024 : disk.block_size;
            if (is_data_in(operation.data)) {
                EXPECT_TRUE(uses_buffer(disk, cdb, size, BufferUse::any));
                EXPECT_TRUE(uses_buffer(disk, cdb, size, BufferUse::data_in));
                EXPECT_FALSE(uses_buffer(disk, cdb, size, BufferUse::data_out));
            } else {
                EXPECT_EQ(uses_buffer(disk, cdb, size, BufferUse::any),
                          uses_buffer(disk, cdb, size, BufferUse::data_out));
                EXPECT_FALSE(uses_buffer(disk, cdb, size, BufferUse::data_in));
            }
        }
    }
    EXPECT_TRUE(uses_buffer({}, block_cdb(0x2A, 0, 1), 512, BufferUse::data_out)) << "WRITE (10)";
}

TEST(Operations, BlocksWithoutABufferForThemAreRefused) {
    Bytes data(512);
    const auto result_of = [&](std::uint8_t opcode, BufferUse use) {
        const Bytes cdb = block_cdb(opcode, 0, 1);
        Command command{cdb, data, data.size()};
        command.buffer_use = use;
        return outcome(decode({}, blocks, command));
    };
    EXPECT_EQ(result_of(0x28, BufferUse::data_in), is_block_request);
    EXPECT_EQ(result_of(0x28, BufferUse::data_out), is_invalid_field);
    EXPECT_EQ(result_of(0x2A, BufferUse::data_out), is_block_request);
    EXPECT_EQ(result_of(0x2A, BufferUse::data_in), is_invalid_field);
    EXPECT_EQ(result_of(0x2F, BufferUse::data_in), is_block_request) << "VERIFY moves nothing";
}

TEST(TaskManagement, FunctionsAreReportedInBothForms) {
    const Bytes plain{0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0};
    Bytes extended = plain;
    extended[2] = 0x80;
    EXPECT_EQ(report({}, plain).data, (Bytes{0x88, 0, 0, 0}));
    EXPECT_EQ(report({}, extended).data,
              (Bytes{0x88, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(UnitAttention, IsReportedByAllButThreeCommands) {
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        const Bytes cdb{static_cast<std::uint8_t>(opcode), 0, 0, 0, 0, 0};
        const bool exempt = opcode == 0x03 || opcode == 0x12 || opcode == 0xA0;
        EXPECT_EQ(reports_unit_attention(cdb), !exempt) << opcode;
    }
    EXPECT_TRUE(reports_unit_attention({}));
}

}  // namespace
}  // namespace wnbd::scsi
