// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/session_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/big_endian.h"

namespace wnbd::iscsi {
namespace {

struct Holder final : SessionHolder {
    void evicted() noexcept override { ++evictions; }
    void turn_has_come() noexcept override { ++turns; }

    int evictions = 0;
    int turns = 0;
};

class SessionTableTest : public testing::Test {
  protected:
    SessionTable::Entry enter(Holder& holder, std::uint8_t isid, std::uint16_t tsih = 0,
                              const std::string& initiator = "iqn.2026-11.org.example:one") {
        LoginHeader request{};
        request.isid = {0x80, 0, 0, 0, 0, isid};
        request.tsih = tsih;
        request.connection_id = 1;
        Parameters parameters;
        parameters.initiator_name = initiator;
        return table.enter(holder, request, parameters);
    }
    SessionTable::Entry discover(Holder& holder) {
        Parameters parameters;
        parameters.discovery = true;
        return table.enter(holder, LoginHeader{}, parameters);
    }
    void leave(Holder& holder) {
        table.leave(holder, [this](scsi::Nexus nexus) { lost.push_back(nexus); });
    }

    std::set<scsi::Nexus> registered;
    std::vector<scsi::Nexus> lost;
    SessionTable table{1000, [this](scsi::Nexus nexus) { return registered.contains(nexus); }};
};

TEST_F(SessionTableTest, TheLastOfThreeLoginsOfAPortIsTheOneThatEnters) {
    Holder first;
    Holder second;
    Holder third;
    const auto entry = enter(first, 1);
    EXPECT_FALSE(entry.waits);
    EXPECT_TRUE(enter(second, 1).waits);
    EXPECT_EQ(first.evictions, 1);
    EXPECT_TRUE(enter(third, 1).waits);
    EXPECT_EQ(first.evictions, 1);
    EXPECT_EQ(second.evictions, 1) << "it will never have its turn";
    leave(second);
    leave(first);
    EXPECT_EQ(second.turns, 0);
    EXPECT_EQ(third.turns, 1);
    EXPECT_EQ(lost, std::vector<scsi::Nexus>{entry.nexus});
    EXPECT_EQ(table.size(), 1U);
    leave(third);
    EXPECT_EQ(table.size(), 0U);
}

TEST_F(SessionTableTest, ANexusOutlivesItsConnectionOnlyWithinItsSession) {
    Holder first;
    Holder again;
    Holder other;
    const auto entry = enter(first, 1);
    const auto continued = enter(again, 1, entry.tsih);
    EXPECT_TRUE(continued.waits);
    EXPECT_TRUE(continued.continues);
    EXPECT_EQ(continued.tsih, entry.tsih);
    leave(first);
    EXPECT_EQ(again.turns, 1);
    EXPECT_TRUE(lost.empty());
    // A new session of the same port is not the old one's.
    EXPECT_FALSE(enter(other, 1).continues);
    leave(again);
    EXPECT_EQ(lost, std::vector<scsi::Nexus>{entry.nexus});
}

TEST_F(SessionTableTest, WhatIsBeingLostDoesNotGoOn) {
    Holder first;
    Holder again;
    const auto entry = enter(first, 1);
    SessionTable::Entry late;
    table.leave(first, [&](scsi::Nexus) { late = enter(again, 1, entry.tsih); });
    EXPECT_TRUE(late.waits);
    EXPECT_FALSE(late.continues) << "the units have forgotten its nexus";
    EXPECT_EQ(again.turns, 1);
    leave(again);
    EXPECT_EQ(lost, std::vector<scsi::Nexus>{entry.nexus});
}

TEST_F(SessionTableTest, ASessionThatHasGoneIsNotEntered) {
    Holder first;
    Holder late;
    const auto entry = enter(first, 1);
    leave(first);
    EXPECT_EQ(enter(late, 1, entry.tsih).status, LoginStatus::session_does_not_exist);
    EXPECT_EQ(table.size(), 0U);
}

TEST_F(SessionTableTest, NumbersOfSessionsAreNeverZeroNorInUse) {
    Holder stays;
    Holder waits;
    Holder comes;
    const std::uint16_t held = enter(stays, 1).tsih;
    const std::uint16_t next = enter(waits, 1).tsih;
    EXPECT_NE(held, next);
    for (int i = 0; i < 0x10010; ++i) {
        const std::uint16_t tsih = enter(comes, 2).tsih;
        ASSERT_NE(tsih, 0U);
        ASSERT_NE(tsih, held);
        ASSERT_NE(tsih, next) << "it is promised to the login that waits";
        leave(comes);
    }
}

TEST_F(SessionTableTest, DiscoveriesCountAsLongAsTheyLast) {
    SessionTable small(1, [](scsi::Nexus) { return false; });
    Parameters discovery;
    discovery.discovery = true;
    for (int i = 0; i < 3; ++i) {
        Holder one;
        Holder other;
        EXPECT_EQ(small.enter(one, LoginHeader{}, discovery).status, LoginStatus::success);
        EXPECT_EQ(small.enter(other, LoginHeader{}, discovery).status,
                  LoginStatus::out_of_resources);
        small.leave(one, [](scsi::Nexus) {});
        EXPECT_EQ(small.size(), 0U);
    }
}

TEST_F(SessionTableTest, OnlyPortsThatLeftNothingBehindGiveTheirNumbersAway) {
    std::vector<std::unique_ptr<Holder>> holders;
    std::set<scsi::Nexus> given;
    for (unsigned i = 0; i < scsi::max_nexuses; ++i) {
        holders.push_back(std::make_unique<Holder>());
        const auto entry = enter(*holders.back(), static_cast<std::uint8_t>(i));
        ASSERT_EQ(entry.status, LoginStatus::success);
        EXPECT_TRUE(given.insert(entry.nexus).second);
        // All but one leave a registration.
        if (i != 77) registered.insert(entry.nexus);
    }
    Holder newcomer;
    const std::string name = "iqn.2026-11.org.example:two";
    EXPECT_EQ(enter(newcomer, 1, 0, name).status, LoginStatus::out_of_resources);
    for (const auto& holder : holders)
        leave(*holder);
    const auto entry = enter(newcomer, 1, 0, name);
    EXPECT_EQ(entry.status, LoginStatus::success);
    EXPECT_FALSE(registered.contains(entry.nexus));
    Holder one_more;
    EXPECT_EQ(enter(one_more, 2, 0, name).status, LoginStatus::out_of_resources);
    // The registered find theirs again.
    Holder returns;
    const auto same = enter(returns, 3);
    EXPECT_EQ(same.status, LoginStatus::success);
    EXPECT_TRUE(registered.contains(same.nexus));
    leave(newcomer);
    leave(returns);
}

TEST_F(SessionTableTest, AColdResetReachesThoseWhoWaitAndThoseWhoOnlyLook) {
    Holder caller;
    Holder other;
    Holder waiting;
    Holder looking;
    EXPECT_FALSE(enter(caller, 1).waits);
    EXPECT_FALSE(enter(other, 2).waits);
    EXPECT_TRUE(enter(waiting, 2).waits);
    EXPECT_EQ(discover(looking).status, LoginStatus::success);
    other.evictions = 0;
    table.evict_others(caller);
    EXPECT_EQ(caller.evictions, 0);
    EXPECT_EQ(other.evictions, 1);
    EXPECT_EQ(waiting.evictions, 1);
    EXPECT_EQ(looking.evictions, 1);
}

// SPC-4 7.6.4.6: null-terminated, null-padded, a multiple of four bytes.
TEST_F(SessionTableTest, TransportIdsEndWithANulWhateverTheNamesLength) {
    for (std::size_t length = 1; length <= 9; ++length) {
        const std::string name = "iqn.2026-11.org.example:" + std::string(length, 'x');
        Holder holder;
        const auto entry = enter(holder, 1, 0, name);
        std::uint8_t room[300];
        ByteWriter out(room);
        table.write_transport_id(entry.nexus, out);
        ASSERT_EQ(out.length() % 4, 0U);
        EXPECT_EQ(load_big_endian<std::uint16_t>(room + 2), out.length() - 4);
        const std::string text = name + ",i,0x800000000001";
        ASSERT_GT(out.length(), 4 + text.size()) << length;
        EXPECT_EQ(std::string(reinterpret_cast<char*>(room) + 4), text);
        EXPECT_LE(out.length(), 4 + text.size() + 4);
        leave(holder);
    }
}

}  // namespace
}  // namespace wnbd::iscsi
