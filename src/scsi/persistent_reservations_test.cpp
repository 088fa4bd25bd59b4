// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

Bytes reserve_out(std::uint8_t action, std::uint8_t scope_type, std::uint32_t length) {
    Bytes cdb{0x5F, action, scope_type, 0, 0, 0, 0, 0, 0, 0};
    store_big_endian(&cdb[5], length);
    return cdb;
}

TEST(PersistentReservations, InCarriesItsAllocationLength) {
    Disk disk;
    disk.persistent_reservations_supported = true;
    for (std::uint8_t action = 0; action < 4; ++action) {
        const Bytes cdb{0x5E, action, 0, 0, 0, 0, 0, 0x01, 0x00, 0};
        Bytes data(64);
        const Decision decision = decode(disk, 1000, Command{cdb, data, data.size()});
        const auto* const request = std::get_if<BlockRequest>(&decision);
        ASSERT_NE(request, nullptr);
        EXPECT_EQ(request->action, Action::persistent_reserve_in);
        EXPECT_EQ(request->reservation.service_action, action);
        EXPECT_EQ(request->reservation.length, 256U);
        EXPECT_EQ(request->data_length, 64U);
        EXPECT_EQ(ask(disk, 1000, {0x5E, action, 0, 0, 0, 0, 0, 0, 0, 0}, 64).result, is_good);
    }
}

TEST(PersistentReservations, OutChecksScopeTypeAndLengths) {
    Disk disk;
    disk.persistent_reservations_supported = true;
    const auto asks = [&disk](std::uint8_t action, std::uint8_t scope_type, Bytes list,
                              std::uint32_t length) {
        const Bytes cdb = reserve_out(action, scope_type, length);
        return outcome(decode(disk, 1000, Command{cdb, list, list.size()}));
    };
    for (std::uint8_t action = 0; action < 7; ++action) {
        for (unsigned scope_type = 0; scope_type < 256; ++scope_type) {
            const unsigned type = scope_type & 0x0F;
            const bool looks = action == 1 || action == 2 || action == 4 || action == 5;
            const bool valid =
                scope_type < 16 && (type == 1 || type == 3 || (type >= 5 && type <= 8));
            EXPECT_EQ(asks(action, static_cast<std::uint8_t>(scope_type), Bytes(24), 24),
                      looks && !valid ? is_invalid_field : is_block_request)
                << int{action} << ' ' << scope_type;
        }
        EXPECT_EQ(asks(action, 0x01, Bytes(24), 0), is_list_length_error);
        EXPECT_EQ(asks(action, 0x01, Bytes(24), 23), is_list_length_error);
        EXPECT_EQ(asks(action, 0x01, Bytes(25), 25), is_list_length_error);
        EXPECT_EQ(asks(action, 0x01, Bytes(23), 24), is_invalid_field);
        EXPECT_EQ(asks(action, 0x01, Bytes(24), 0xFFFFFFFF), is_list_length_error);
    }
    Bytes with_transport_id(28 + 24);
    with_transport_id[20] = 0x08;  // SPEC_I_PT
    with_transport_id[27] = 24;
    EXPECT_EQ(asks(0, 0, with_transport_id, 52), is_block_request);
    with_transport_id[27] = 25;
    EXPECT_EQ(asks(0, 0, with_transport_id, 52), is_list_length_error);
    // As long a list as user space can be told of, and a byte more.
    for (const std::uint32_t length : {0xFFFFU, 0x10000U}) {
        Bytes list(length);
        list[20] = 0x08;
        store_big_endian<std::uint32_t>(&list[24], length - 28);
        EXPECT_EQ(asks(0, 0, list, length),
                  length == 0xFFFF ? is_block_request : is_list_length_error);
    }
    Bytes move(24 + 24);
    move[23] = 24;
    EXPECT_EQ(asks(7, 0x01, move, 48), is_block_request);
    move[20] = 0xFF;
    EXPECT_EQ(asks(7, 0x01, move, 48), is_list_length_error);
}

TEST(PersistentReservations, ReadOnlyDiskRefusesOutButNotIn) {
    Disk disk;
    disk.persistent_reservations_supported = true;
    disk.read_only = true;
    EXPECT_EQ(ask(disk, 1000, reserve_out(0, 0, 24), 24).result, is_write_protected);
    EXPECT_EQ(ask(disk, 1000, {0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0}, 8).result, is_block_request);
}

}  // namespace
}  // namespace wnbd::scsi
