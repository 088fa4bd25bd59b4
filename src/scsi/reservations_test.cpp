// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/reservations.h"

#include <gtest/gtest.h>

#include "scsi/reservation_test_commands.h"

namespace wnbd::scsi {
namespace {

constexpr Nexus holder = 3;
constexpr Nexus member = 200;  // registered, does not hold
constexpr Nexus stranger = 7;
constexpr std::uint64_t holders_key = 0xA1;
constexpr std::uint64_t members_key = 0xB2;

constexpr std::uint32_t is_invalid_release = 0x052604;
constexpr std::uint32_t is_out_of_registrations = 0x055504;

NexusSet set_of(std::initializer_list<Nexus> nexuses) {
    NexusSet set;
    for (const Nexus nexus : nexuses)
        set.add(nexus);
    return set;
}

SharedUnit reserved_unit(std::uint8_t type) {
    SharedUnit unit;
    unit.disk.unmap_supported = true;
    unit.disk.flush_supported = true;
    EXPECT_EQ(unit.join(holder, holders_key), is_good);
    EXPECT_EQ(unit.join(member, members_key), is_good);
    EXPECT_EQ(unit.out(holder, ActionOut::reserve, type, holders_key), is_good);
    return unit;
}

struct Row {
    const char* name;
    Bytes cdb;
    bool through_write_exclusive;
    bool through_exclusive_access;
    bool through_plain_reserve;
};

/// SPC-4 and SBC-3, "commands allowed in the presence of various reservations"; SPC-2 for RESERVE.
std::vector<Row> rows() {
    return {
        {"TEST UNIT READY", Bytes(6), true, true, false},
        {"REQUEST SENSE", {0x03, 0, 0, 0, 18, 0}, true, true, true},
        {"INQUIRY", {0x12, 0, 0, 0, 36, 0}, true, true, true},
        {"REPORT LUNS", {0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, true, true, true},
        {"READ CAPACITY (10)", Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true, true, true},
        {"READ CAPACITY (16)",
         {0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0},
         true,
         true,
         true},
        {"START STOP UNIT, start", {0x1B, 0, 0, 0, 1, 0}, true, true, true},
        {"START STOP UNIT, stop", {0x1B, 0, 0, 0, 0, 0}, false, false, false},
        {"START STOP UNIT, power condition", {0x1B, 0, 0, 0, 0x11, 0}, false, false, false},
        {"allow medium removal", {0x1E, 0, 0, 0, 0, 0}, true, true, true},
        {"prevent medium removal", {0x1E, 0, 0, 0, 1, 0}, false, false, false},
        {"MODE SENSE (6)", {0x1A, 0, 0x3F, 0, 255, 0}, true, false, false},
        {"MODE SENSE (10)", {0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255, 0}, true, false, false},
        {"MODE SELECT (6)", {0x15, 0x10, 0, 0, 0, 0}, false, false, false},
        {"MODE SELECT (10)", {0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0}, false, false, false},
        {"SEND DIAGNOSTIC", {0x1D, 0x04, 0, 0, 0, 0}, false, false, false},
        {"RECEIVE DIAGNOSTIC", {0x1C, 1, 0, 0, 8, 0}, true, false, false},
        {"REPORT SUPPORTED OPERATION CODES",
         {0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0},
         true,
         false,
         false},
        {"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
         {0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0},
         true,
         false,
         false},
        {"GET LBA STATUS",
         {0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0},
         true,
         false,
         false},
        {"READ (6)", block_cdb(0x08, 0, 1), true, false, false},
        {"READ (10)", block_cdb(0x28, 0, 1), true, false, false},
        {"READ (12)", block_cdb(0xA8, 0, 1), true, false, false},
        {"READ (16)", block_cdb(0x88, 0, 1), true, false, false},
        {"READ beyond the end", block_cdb(0x88, 5000, 1), true, false, false},
        {"VERIFY (10)", block_cdb(0x2F, 0, 1), true, false, false},
        {"VERIFY (16)", block_cdb(0x8F, 0, 1), true, false, false},
        {"PRE-FETCH (10)", block_cdb(0x34, 0, 1), true, false, false},
        {"PRE-FETCH (16)", block_cdb(0x90, 0, 1), true, false, false},
        {"WRITE (6)", block_cdb(0x0A, 0, 1), false, false, false},
        {"WRITE (10)", block_cdb(0x2A, 0, 1), false, false, false},
        {"WRITE (12)", block_cdb(0xAA, 0, 1), false, false, false},
        {"WRITE (16)", block_cdb(0x8A, 0, 1), false, false, false},
        {"WRITE of nothing", block_cdb(0x8A, 0, 0), false, false, false},
        {"WRITE AND VERIFY (10)", block_cdb(0x2E, 0, 1), false, false, false},
        {"WRITE AND VERIFY (16)", block_cdb(0x8E, 0, 1), false, false, false},
        {"WRITE SAME (10)", block_cdb(0x41, 0, 1), false, false, false},
        {"WRITE SAME (16)", block_cdb(0x93, 0, 1), false, false, false},
        {"COMPARE AND WRITE", compare_and_write_cdb(0, 1), false, false, false},
        {"UNMAP", unmap_cdb(0), false, false, false},
        {"SYNCHRONIZE CACHE (10)", block_cdb(0x35, 0, 0), false, false, false},
        {"SYNCHRONIZE CACHE (16)", block_cdb(0x91, 0, 0), false, false, false},
    };
}

bool exclusive_access(std::uint8_t type) {
    return type == 3 || type == 6 || type == 8;
}

TEST(Reservations, LetThroughWhatTheTablesOfTheStandardsSayForEachTypeAndInitiator) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        for (const Row& row : rows()) {
            const bool open =
                exclusive_access(type) ? row.through_exclusive_access : row.through_write_exclusive;
            const auto conflicts = [&](Nexus nexus) {
                return unit.run(nexus, row.cdb, Bytes(1024)) == is_conflict;
            };
            EXPECT_FALSE(conflicts(holder)) << row.name << ", type " << int{type};
            EXPECT_EQ(conflicts(member), type < 5 && !open) << row.name << ", type " << int{type};
            EXPECT_EQ(conflicts(stranger), !open) << row.name << ", type " << int{type};
        }
    }
}

TEST(Reservations, OfReserveLetThroughWhatSpc2Says) {
    for (const Bytes& reserve :
         {Bytes{0x16, 0, 0, 0, 0, 0}, Bytes{0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0}}) {
        SharedUnit unit;
        unit.disk.unmap_supported = true;
        ASSERT_EQ(unit.run(holder, reserve), is_good);
        for (const Row& row : rows()) {
            EXPECT_NE(unit.run(holder, row.cdb, Bytes(1024)), is_conflict) << row.name;
            EXPECT_EQ(unit.run(stranger, row.cdb, Bytes(1024)) == is_conflict,
                      !row.through_plain_reserve)
                << row.name;
        }
    }
}

TEST(Reservations, NothingConflictsWhereNoneIsHeld) {
    SharedUnit unit;
    ASSERT_EQ(unit.join(holder, holders_key), is_good);
    EXPECT_FALSE(unit.reservations.any());
    for (const Row& row : rows())
        EXPECT_NE(unit.run(stranger, row.cdb, Bytes(1024)), is_conflict) << row.name;
}

TEST(Reservations, OutServiceActionsFollowTheTableOfTheStandardForEachTypeAndInitiator) {
    struct Expected {
        ActionOut action;
        std::uint32_t by_holder, by_member, by_stranger;
    };
    for (const std::uint8_t type : all_reservation_types) {
        const bool all = type >= 7;
        const std::vector<Expected> table = {
            {ActionOut::register_key, is_good, is_good, is_good},
            {ActionOut::register_and_ignore_existing_key, is_good, is_good, is_good},
            {ActionOut::reserve, is_good, all ? is_good : is_conflict, is_conflict},
            {ActionOut::release, is_good, is_good, is_conflict},
            {ActionOut::clear, is_good, is_good, is_conflict},
            {ActionOut::preempt, is_good, is_good, is_conflict},
            {ActionOut::preempt_and_abort, is_good, is_good, is_conflict},
        };
        for (const Expected& row : table) {
            const auto ask = [&](Nexus nexus, std::uint64_t key) {
                return reserved_unit(type).out(nexus, row.action, type, key, members_key);
            };
            EXPECT_EQ(ask(holder, holders_key), row.by_holder) << int(row.action) << int{type};
            EXPECT_EQ(ask(member, members_key), row.by_member) << int(row.action) << int{type};
            EXPECT_EQ(ask(stranger, 0), row.by_stranger) << int(row.action) << int{type};
            // The wrong key is a conflict for whoever is registered, but where it is ignored.
            const bool ignored = row.action == ActionOut::register_and_ignore_existing_key;
            EXPECT_EQ(ask(holder, 0x77), ignored ? is_good : is_conflict) << int(row.action);
            EXPECT_EQ(ask(member, 0), ignored ? is_good : is_conflict) << int(row.action);
        }
    }
}

TEST(Reservations, RegisterNeedsTheKeyItReplaces) {
    SharedUnit unit;
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 5, 9), is_conflict);
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 0, 0), is_good);
    EXPECT_EQ(unit.generation(), 0u) << "nothing to unregister";
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 0, 9), is_good);
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 0, 10), is_conflict);
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 9, 10), is_good);
    EXPECT_EQ(unit.generation(), 2u);
    EXPECT_EQ(unit.in(ActionIn::read_keys),
              (Bytes{0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 10}));
    EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, 10, 0), is_good);
    EXPECT_FALSE(unit.reservations.registered(holder));
    EXPECT_EQ(unit.generation(), 3u);
}

TEST(Reservations, GenerationCountsRegistrationsClearsAndPreemptsOnly) {
    SharedUnit unit = reserved_unit(1);
    EXPECT_EQ(unit.generation(), 2u);
    EXPECT_EQ(unit.out(holder, ActionOut::release, 1, holders_key), is_good);
    EXPECT_EQ(unit.out(member, ActionOut::reserve, 3, members_key), is_good);
    EXPECT_EQ(unit.out(holder, ActionOut::reserve, 3, holders_key), is_conflict);
    EXPECT_EQ(unit.generation(), 2u);
    EXPECT_EQ(unit.out(holder, ActionOut::preempt, 1, holders_key, members_key), is_good);
    EXPECT_EQ(unit.generation(), 3u);
    EXPECT_EQ(unit.out(holder, ActionOut::clear, 0, holders_key), is_good);
    EXPECT_EQ(unit.generation(), 4u);
}

TEST(Reservations, AreReleasedByTheirHolderOnlyAndAsTheyWereMade) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        for (const std::uint8_t other : all_reservation_types) {
            if (other == type) continue;
            EXPECT_EQ(unit.out(holder, ActionOut::release, other, holders_key), is_invalid_release);
            EXPECT_EQ(unit.out(holder, ActionOut::reserve, other, holders_key), is_conflict);
        }
        EXPECT_EQ(unit.out(holder, ActionOut::release, 0x10 | type, holders_key),
                  is_invalid_release);
        EXPECT_EQ(unit.held_type(), type);
        if (type < 7) {
            EXPECT_EQ(unit.out(member, ActionOut::release, type, members_key), is_good);
            EXPECT_EQ(unit.held_type(), type) << "not the member's to release";
        }
        EXPECT_EQ(unit.out(holder, ActionOut::release, type, holders_key), is_good);
        EXPECT_EQ(unit.held_type(), 0);
        EXPECT_EQ(unit.consequences.reservations_released,
                  type < 5 ? NexusSet{} : set_of({member}));
        EXPECT_EQ(unit.out(holder, ActionOut::release, type, holders_key), is_good);
    }
}

TEST(Reservations, GoWithTheRegistrationOfTheirHolder) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        EXPECT_EQ(unit.out(holder, ActionOut::register_key, 0, holders_key, 0), is_good);
        const bool stays = type >= 7;  // all registrants hold it, and one is left
        EXPECT_EQ(unit.held_type(), stays ? type : 0);
        const bool tells = type == 5 || type == 6;
        EXPECT_EQ(unit.consequences.reservations_released, tells ? set_of({member}) : NexusSet{});
        EXPECT_EQ(unit.out(member, ActionOut::register_key, 0, members_key, 0), is_good);
        EXPECT_EQ(unit.held_type(), 0);
        EXPECT_FALSE(unit.reservations.any());
    }
}

TEST(Reservations, ClearTakesEverythingAndTellsTheOthers) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        EXPECT_EQ(unit.out(member, ActionOut::clear, 0, members_key), is_good);
        EXPECT_EQ(unit.consequences.reservations_preempted, set_of({holder}));
        EXPECT_EQ(unit.held_type(), 0);
        EXPECT_EQ(unit.in(ActionIn::read_keys), (Bytes{0, 0, 0, 3, 0, 0, 0, 0}));
    }
}

TEST(Reservations, PreemptingTheHolderTakesItsPlace) {
    for (const std::uint8_t type : {1, 3, 5, 6}) {
        for (const std::uint8_t next : all_reservation_types) {
            SharedUnit unit = reserved_unit(static_cast<std::uint8_t>(type));
            ASSERT_EQ(unit.join(stranger, 0xC3), is_good);
            EXPECT_EQ(unit.out(member, ActionOut::preempt, next, members_key, holders_key),
                      is_good);
            EXPECT_EQ(unit.held_type(), next);
            EXPECT_FALSE(unit.reservations.registered(holder));
            EXPECT_EQ(unit.consequences.registrations_preempted, set_of({holder}));
            EXPECT_EQ(unit.consequences.reservations_released,
                      next == type ? NexusSet{} : set_of({stranger}));
            EXPECT_TRUE(unit.consequences.aborted.empty());
            EXPECT_EQ(unit.out(member, ActionOut::release, next, members_key), is_good);
            EXPECT_EQ(unit.held_type(), 0);
        }
    }
}

TEST(Reservations, AHolderMayPreemptItself) {
    SharedUnit unit = reserved_unit(1);
    EXPECT_EQ(unit.out(holder, ActionOut::preempt, 6, holders_key, holders_key), is_good);
    EXPECT_EQ(unit.held_type(), 6);
    EXPECT_TRUE(unit.reservations.registered(holder));
    EXPECT_EQ(unit.consequences.reservations_released, set_of({member}));
}

TEST(Reservations, PreemptingAnotherKeyOnlyRemovesItsRegistrations) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        ASSERT_EQ(unit.join(stranger, members_key), is_good);
        // Scope and type are not looked at.
        EXPECT_EQ(unit.out(holder, ActionOut::preempt_and_abort, 0xFF, holders_key, members_key),
                  is_good);
        EXPECT_EQ(unit.held_type(), type);
        EXPECT_EQ(unit.consequences.registrations_preempted, set_of({member, stranger}));
        EXPECT_EQ(unit.consequences.aborted, set_of({member, stranger}));
        EXPECT_EQ(unit.out(holder, ActionOut::preempt, type, holders_key, members_key), is_conflict)
            << "nobody has that key any more";
    }
}

TEST(Reservations, KeyZeroPreemptsAllRegistrantsAndNobodyElse) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        if (type < 7) {
            EXPECT_EQ(unit.out(member, ActionOut::preempt, 1, members_key, 0), is_invalid_list);
            continue;
        }
        EXPECT_EQ(unit.out(member, ActionOut::preempt, 2, members_key, 0), is_invalid_field);
        EXPECT_EQ(unit.out(member, ActionOut::preempt, 1, members_key, 0), is_good);
        EXPECT_EQ(unit.held_type(), 1);
        EXPECT_EQ(unit.consequences.registrations_preempted, set_of({holder}));
    }
    SharedUnit nobody;
    ASSERT_EQ(nobody.join(member, members_key), is_good);
    EXPECT_EQ(nobody.out(member, ActionOut::preempt, 1, members_key, 0), is_invalid_list);
}

TEST(Reservations, AnInitiatorMayPreemptItsOwnRegistrationAway) {
    SharedUnit unit;
    ASSERT_EQ(unit.join(member, members_key), is_good);
    EXPECT_EQ(unit.out(member, ActionOut::preempt_and_abort, 1, members_key, members_key), is_good);
    EXPECT_FALSE(unit.reservations.registered(member));
    EXPECT_TRUE(unit.consequences.registrations_preempted.empty());
    EXPECT_TRUE(unit.consequences.aborted.empty());
}

TEST(Reservations, ReserveChecksScopeAndTypeAndEveryListItsLength) {
    SharedUnit unit;
    ASSERT_EQ(unit.join(holder, holders_key), is_good);
    for (unsigned scope_type = 0; scope_type < 256; ++scope_type) {
        const auto type = static_cast<std::uint8_t>(scope_type);
        const bool valid =
            std::ranges::find(all_reservation_types, type) != std::end(all_reservation_types);
        EXPECT_EQ(unit.out(holder, ActionOut::reserve, type, holders_key),
                  valid ? is_good : is_invalid_field);
        if (valid) {
            EXPECT_EQ(unit.out(holder, ActionOut::release, type, holders_key), is_good);
        }
    }
    for (std::uint8_t action = 0; action < 7; ++action) {
        const auto asks = [&](std::uint32_t length, std::size_t buffer) {
            return unit.run(holder, reserve_out_cdb(static_cast<ActionOut>(action), 1, length),
                            Bytes(buffer));
        };
        EXPECT_EQ(asks(0, 24), is_list_length_error);
        EXPECT_EQ(asks(23, 24), is_list_length_error);
        EXPECT_EQ(asks(25, 25), is_list_length_error);
        EXPECT_EQ(asks(24, 23), is_invalid_field);
        EXPECT_EQ(asks(0xFFFFFFFF, 24), is_invalid_field);
    }
}

TEST(Reservations, WhatCapabilitiesDenyIsRefused) {
    SharedUnit unit;
    EXPECT_EQ(unit.in(ActionIn::report_capabilities), (Bytes{0, 8, 0x10, 0xB0, 0xEA, 0x01, 0, 0}));
    constexpr std::uint8_t spec_i_pt = 0x08;
    for (const std::uint8_t bit : {0x01, 0x04, 0x08}) {
        for (const auto action :
             {ActionOut::register_key, ActionOut::register_and_ignore_existing_key}) {
            EXPECT_EQ(unit.out(holder, action, 0, 0, 1, bit), is_invalid_list) << int{bit};
        }
    }
    Bytes with_ports = reservation_list(0, 1, spec_i_pt);
    with_ports.resize(28 + 24);
    EXPECT_EQ(unit.run(holder, reserve_out_cdb(ActionOut::register_key, 0, 52), with_ports),
              is_invalid_list);
    EXPECT_EQ(unit.run(holder, reserve_out_cdb(ActionOut::register_and_move, 1, 48), Bytes(48)),
              is_invalid_field)
        << "an unknown service action";
    EXPECT_FALSE(unit.reservations.registered(holder));
}

TEST(Reservations, OneRegistrantTooManyIsToldSo) {
    SharedUnit unit;
    for (unsigned nexus = 0; nexus < max_registrants; ++nexus)
        ASSERT_EQ(unit.join(static_cast<Nexus>(2 * nexus), nexus + 1), is_good);
    EXPECT_EQ(unit.join(stranger, 9), is_out_of_registrations);
    EXPECT_EQ(unit.generation(), max_registrants);
    EXPECT_EQ(unit.in(ActionIn::read_keys).size(), 8u + 8u * max_registrants);
    EXPECT_EQ(unit.out(4, ActionOut::register_key, 0, 3, 0), is_good);
    EXPECT_EQ(unit.join(stranger, 9), is_good) << "one has left";
}

TEST(Reservations, FullStatusNamesEveryRegistrantAndTheHolder) {
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        const Bytes data = unit.in(ActionIn::read_full_status);
        ASSERT_EQ(data.size(), 8u + 2u * 48u);
        EXPECT_EQ(load_big_endian<std::uint32_t>(&data[4]), 96u);
        const std::uint8_t* const first = &data[8];
        const std::uint8_t* const second = &data[8 + 48];
        EXPECT_EQ(load_big_endian<std::uint64_t>(first), holders_key);
        EXPECT_EQ(first[12], 0x01);
        EXPECT_EQ(first[13], type);
        EXPECT_EQ(first[19], 1) << "relative target port";
        EXPECT_EQ(load_big_endian<std::uint32_t>(first + 20), 24u);
        EXPECT_EQ(first[24], 0x06) << "SAS";
        EXPECT_EQ(first[28] >> 4, 3) << "a locally assigned NAA";
        EXPECT_EQ(first[35], holder);
        EXPECT_EQ(load_big_endian<std::uint64_t>(second), members_key);
        EXPECT_EQ(second[12], type >= 7 ? 0x01 : 0x00);
        EXPECT_EQ(second[13], type >= 7 ? type : 0);
        EXPECT_EQ(second[35], member);
    }
}

TEST(Reservations, ReportsGiveTheirWholeLengthHoweverLittleRoomThereIs) {
    SharedUnit unit = reserved_unit(5);
    const Bytes whole = unit.in(ActionIn::read_reservation);
    EXPECT_EQ(whole,
              (Bytes{0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xA1, 0, 0, 0, 0, 0, 5, 0, 0}));
    for (const auto action : {ActionIn::read_keys, ActionIn::read_reservation,
                              ActionIn::report_capabilities, ActionIn::read_full_status}) {
        const Bytes all = unit.in(action);
        for (std::size_t room = 0; room < all.size(); ++room) {
            const Bytes some = unit.in(action, static_cast<std::uint16_t>(room));
            EXPECT_EQ(some, Bytes(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(room)));
        }
    }
    SharedUnit all_hold = reserved_unit(8);
    EXPECT_EQ(load_big_endian<std::uint64_t>(&all_hold.in(ActionIn::read_reservation)[8]), 0u);
}

const Bytes reserve_6{0x16, 0, 0, 0, 0, 0};
const Bytes release_6{0x17, 0, 0, 0, 0, 0};
const Bytes reserve_10{0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0};
const Bytes release_10{0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0};

TEST(Reservations, OfReserveAreReleasedByTheirInitiatorAlone) {
    SharedUnit unit;
    EXPECT_EQ(unit.run(holder, reserve_6), is_good);
    EXPECT_EQ(unit.run(holder, reserve_10), is_good) << "again";
    EXPECT_EQ(unit.run(member, reserve_6), is_conflict);
    EXPECT_EQ(unit.run(member, reserve_10), is_conflict);
    EXPECT_EQ(unit.run(member, release_6), is_good);
    EXPECT_EQ(unit.run(member, release_10), is_good);
    EXPECT_EQ(unit.run(member, reserve_6), is_conflict) << "that released nothing";
    EXPECT_EQ(unit.run(holder, release_10), is_good);
    EXPECT_EQ(unit.run(member, reserve_6), is_good);
    for (const Bytes& cdb : {reserve_6, release_6, reserve_10, release_10}) {
        for (const std::uint8_t bits : {0x01, 0x10}) {
            Bytes odd = cdb;
            odd[1] = bits;
            EXPECT_EQ(unit.run(member, odd), is_invalid_field);
        }
    }
}

TEST(Reservations, OfReserveEndWithAResetOrTheNexus) {
    SharedUnit unit;
    ASSERT_EQ(unit.run(holder, reserve_6), is_good);
    unit.reservations.lose(member);
    EXPECT_EQ(unit.run(member, reserve_6), is_conflict);
    unit.reservations.lose(holder);
    EXPECT_EQ(unit.run(member, reserve_6), is_good);
    unit.reservations.reset();
    EXPECT_FALSE(unit.reservations.any());
    SharedUnit persistent = reserved_unit(1);
    persistent.reservations.reset();
    persistent.reservations.lose(holder);
    EXPECT_EQ(persistent.held_type(), 1) << "persistent ones stay";
}

TEST(Reservations, TheTwoKindsDoNotMix) {
    SharedUnit plain;
    ASSERT_EQ(plain.run(holder, reserve_6), is_good);
    EXPECT_EQ(plain.join(holder, 1), is_conflict);
    EXPECT_EQ(plain.join(stranger, 1), is_conflict);
    EXPECT_EQ(plain.run(holder, reserve_in_cdb(ActionIn::read_keys), Bytes(64)), is_conflict);

    SharedUnit registered;
    ASSERT_EQ(registered.join(member, members_key), is_good);
    for (const Bytes& cdb : {reserve_6, release_6, reserve_10, release_10}) {
        EXPECT_EQ(registered.run(member, cdb), is_conflict);
        EXPECT_EQ(registered.run(stranger, cdb), is_conflict);
    }
    // With CRH, who may write anyway is told GOOD.
    for (const std::uint8_t type : all_reservation_types) {
        SharedUnit unit = reserved_unit(type);
        for (const Bytes& cdb : {reserve_6, release_6, reserve_10, release_10}) {
            EXPECT_EQ(unit.run(holder, cdb), is_good);
            EXPECT_EQ(unit.run(member, cdb), type >= 5 ? is_good : is_conflict) << int{type};
            EXPECT_EQ(unit.run(stranger, cdb), is_conflict);
        }
        EXPECT_EQ(unit.held_type(), type);
    }
}

}  // namespace
}  // namespace wnbd::scsi
