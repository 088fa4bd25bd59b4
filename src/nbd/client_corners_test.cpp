// SPDX-License-Identifier: LGPL-2.1-or-later
// Where two of the client's duties meet: losses and the line, several connections and their server,
// requests that are used again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "nbd/client.h"
#include "nbd/client_fixture.h"

namespace wnbd::nbd {
namespace {

using test::agreement;
using test::disk_size;
using test::Fixture;
using test::Job;
using test::patient;
using test::usual_flags;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Phase = Client::Phase;
using namespace std::chrono_literals;

constexpr std::uint16_t without_fua =
    transmission_has_flags | transmission_send_flush | transmission_can_multi_conn;

/// A place whose requests go to this connection of two.
std::uint64_t place_of(Fixture& f, unsigned index) {
    for (std::uint64_t place = 0;; place += 1 << 20) {
        Job probe(CommandType::read, place);
        f.submit(probe);
        const bool there = !f.wire(index).to_server.empty();
        (void)f.serve(0);
        (void)f.serve(1);
        if (there) return place;
    }
}

/// Two connections of one request each, to a server that must be told to flush.
struct TwoLanes : Fixture {
    TwoLanes()
        : Fixture(
              {.commands_max = 1, .connections = 2, .write_through = true, .reconnect = patient()},
              agreement(disk_size, without_fua)) {
        EXPECT_TRUE(client.look_after(now).dial);
        EXPECT_EQ(attach(1, agreement(disk_size, without_fua)).code, FaultCode::none);
    }
};

TEST(Client, WhatAShrunkExportHoldsOnlyInPartIsRefused) {
    Fixture f;
    Job inside(CommandType::write, disk_size / 2 - 512, 512);
    Job across(CommandType::write, disk_size / 2 - 4096, 8192);
    Job behind(CommandType::read, disk_size / 2, 512);
    f.submit({&inside, &across, &behind});
    f.end();
    ASSERT_EQ(f.reconnect(agreement(disk_size / 2)).code, FaultCode::none);
    (void)f.serve();
    (void)f.serve();
    EXPECT_TRUE(inside.good());
    EXPECT_EQ(across.outcome.error, error_no_space);
    EXPECT_EQ(behind.outcome.error, error_invalid);
}

TEST(Client, ALongChangeThatAShrunkExportHasNoRoomForKeepsNobodyOut) {
    constexpr std::size_t size = std::size_t{64} << 20;
    Fixture f;
    Job flying(CommandType::write, 0);
    Job waiting(CommandType::trim, disk_size - size, size);
    f.submit({&flying, &waiting});
    f.end();
    ASSERT_EQ(f.reconnect(agreement(disk_size / 2)).code, FaultCode::none);
    EXPECT_EQ(waiting.outcome.error, error_no_space);
    Job later(CommandType::write, 4096);
    f.submit(later);
    EXPECT_THAT(f.serve(), SizeIs(2));
    EXPECT_TRUE(flying.good() && later.good());
}

// The flush must overtake whoever waits for the range that the write still holds.
TEST(Client, AFlushAfterAWriteGoesAheadOfThoseWhoWaitForItsRange) {
    TwoLanes f;
    const auto lane0 = place_of(f, 0);
    const auto lane1 = place_of(f, 1);
    Job busy(CommandType::read, lane0);
    Job write(CommandType::write, lane1);
    Job same_place(CommandType::write, lane1);
    f.submit({&busy, &write, &same_place});
    EXPECT_THAT(f.serve(1), SizeIs(1));
    EXPECT_THAT(f.serve(0), SizeIs(1));
    EXPECT_TRUE(busy.good());
    const auto seen = f.serve(0);
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].type, CommandType::flush);
    EXPECT_TRUE(write.good());
    EXPECT_THAT(f.serve(1), SizeIs(1));
    (void)f.serve(0);
    EXPECT_TRUE(same_place.good());
}

TEST(Client, AWriteWhoseFlushStillWaitedIsWrittenAnew) {
    TwoLanes f;
    const auto lane0 = place_of(f, 0);
    const auto lane1 = place_of(f, 1);
    Job busy(CommandType::read, lane0);
    Job write(CommandType::write, lane1);
    f.submit({&busy, &write});
    EXPECT_THAT(f.serve(1), SizeIs(1));
    EXPECT_EQ(write.ended, 0U);
    f.end(0);
    f.end(1);
    ASSERT_EQ(f.reconnect(agreement(disk_size, without_fua)).code, FaultCode::none);
    std::vector<CommandType> seen;
    for (int i = 0; i < 3; ++i)
        for (const auto& request : f.serve())
            seen.push_back(request.type);
    EXPECT_THAT(seen, ElementsAre(CommandType::read, CommandType::write, CommandType::flush));
    EXPECT_TRUE(busy.good() && write.good());
}

TEST(Client, ARequestMayBeUsedAgain) {
    Fixture f({.write_through = true, .reconnect = patient()}, agreement(disk_size, without_fua));
    Job write(CommandType::write);
    for (unsigned round = 1; round <= 2; ++round) {
        f.submit(write);
        const auto seen = f.serve();
        ASSERT_THAT(seen, SizeIs(1));
        EXPECT_EQ(seen[0].type, CommandType::write);
        ASSERT_THAT(f.serve(), SizeIs(1));
        EXPECT_EQ(write.ended, round);
    }
    EXPECT_TRUE(f.client.idle());
}

TEST(Client, ARequestThatIsUsedAgainIsKeptAsOftenAsANewOne) {
    Fixture f({.reconnect = {.delay = 1ms, .timeout = 1h}});
    Job kept(CommandType::write);
    for (unsigned use = 1; use <= 2; ++use) {
        f.submit(kept);
        for (unsigned i = 1; i < Client::shutdowns_max; ++i) {
            (void)f.serve(0, error_shutdown);
            ASSERT_EQ(kept.ended, use - 1) << i;
            f.end();
            f.now += 10s;
            ASSERT_EQ(f.reconnect().code, FaultCode::none);
        }
        (void)f.serve();
        ASSERT_EQ(kept.ended, use);
        EXPECT_EQ(kept.outcome.error, 0U);
    }
}

TEST(Client, WhatWasSentAwayIsReplayedInItsTurn) {
    Fixture f;
    Job first(CommandType::read, 0);
    Job second(CommandType::read, 512);
    Job third(CommandType::read, 1024);
    f.submit({&first, &second, &third});
    const auto seen = f.wire().take_all();
    ASSERT_THAT(seen, SizeIs(3));
    f.wire().answer(seen[2], error_shutdown);
    f.turn();
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    std::vector<std::uint64_t> order;
    for (const auto& request : f.serve())
        order.push_back(request.offset);
    EXPECT_THAT(order, ElementsAre(0, 512, 1024));
}

TEST(Client, AFurtherConnectionMustBeToTheSameExport) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    EXPECT_EQ(f.attach(1, agreement(disk_size * 2)).code, FaultCode::export_changed);
    constexpr std::uint16_t alone = usual_flags & ~transmission_can_multi_conn;
    EXPECT_EQ(f.attach(1, agreement(disk_size, alone)).code, FaultCode::export_changed);
    constexpr std::uint16_t no_flush = usual_flags & ~transmission_send_flush;
    EXPECT_EQ(f.attach(1, agreement(disk_size, no_flush)).code, FaultCode::export_changed);
    EXPECT_EQ(f.client.status().connections, 1U);
    EXPECT_EQ(f.attach(1).code, FaultCode::none);
}

TEST(Client, AFurtherConnectionMustBeAsSafeAsTheFirst) {
    auto safe = agreement();
    safe.tls = true;
    Fixture f({.connections = 2, .reconnect = patient()}, safe);
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    EXPECT_EQ(f.attach(1, agreement()).code, FaultCode::export_changed);
    EXPECT_EQ(f.attach(1, safe).code, FaultCode::none);
}

TEST(Client, FurtherConnectionsGoToTheServerThatTookOver) {
    Fixture f({.connections = 2, .reconnect = patient()}, agreement(), 3);
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    f.end();
    ASSERT_EQ(f.client.look_after(f.now).dial, 0U);
    f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    ASSERT_EQ(f.client.look_after(f.now).dial, 1U);
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    // At once: what failed was a matter of the server that is gone.
    const auto chore = f.client.look_after(f.now);
    EXPECT_EQ(chore.dial, 1U);
    EXPECT_EQ(chore.index, 1U);
}

// A server may say that it allows several connections, and end each further one.
TEST(Client, WhatEndsEachFurtherConnectionAtOnceIsNotAskedForMoreAndMore) {
    for (const bool says_something : {false, true}) {
        Fixture f({.connections = 3, .reconnect = patient()});
        for (unsigned round = 0; round < Client::stillborn_max; ++round) {
            const auto chore = f.pass(100ms);
            ASSERT_TRUE(chore.dial && chore.index == 1);
            ASSERT_EQ(f.attach(1).code, FaultCode::none);
            // A place of the second connection's, of two.
            Job read(CommandType::read, 256U << 10);
            f.submit(read);
            if (says_something) {
                ASSERT_EQ(f.serve(1).size(), 1U);
            }
            f.end(1);
            f.end(0);
            ASSERT_TRUE(f.pass(10s).dial);
            ASSERT_EQ(f.attach(0).code, FaultCode::none);
            f.serve();
            EXPECT_TRUE(read.good());
        }
        EXPECT_EQ(f.pass(120s).dial.has_value(), says_something);
        EXPECT_EQ(f.client.status().phase, Client::Phase::online);
    }
}

TEST(Client, WhatACompletionSubmitsToAnotherConnectionGoesOutAtOnce) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    ASSERT_EQ(f.attach(1).code, FaultCode::none);
    Job next(CommandType::read, place_of(f, 0));
    Job first(CommandType::read, place_of(f, 1));
    first.then = [&] { f.submit(next); };
    f.submit(first);
    EXPECT_THAT(f.serve(1), SizeIs(1));
    EXPECT_THAT(f.wire(0).to_server, SizeIs(request_size)) << "it waits for its own thread";
    (void)f.serve(0);
    EXPECT_TRUE(next.good());
}

TEST(Client, ACloseWhileAnEndIsWaitedForCuts) {
    Fixture f({.request_time_max = 1s, .reconnect = patient()});
    Job unanswered(CommandType::read);
    f.submit(unanswered);
    f.pass(2s);
    ASSERT_EQ(f.client.status().phase, Phase::breaking);
    ASSERT_FALSE(f.wire().shut_down);
    f.client.close(f.now);
    EXPECT_TRUE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_EQ(unanswered.ended, 1U);
}

TEST(Client, GivingUpDoesNotWaitForTheServersEnd) {
    Fixture f({.request_time_max = 1s, .linger = 1h, .reconnect = {.delay = 1s, .timeout = 3s}});
    Job unanswered(CommandType::read);
    f.submit(unanswered);
    f.pass(2s);
    ASSERT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_FALSE(f.wire().shut_down);
    f.pass(3s);
    EXPECT_TRUE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_TRUE(unanswered.outcome.disconnected);
}

TEST(Client, GivesUpInTheMiddleOfAnAttemptThatHangs) {
    Fixture f({.reconnect = {.delay = 1s, .timeout = 5s}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.pass(4s);
    EXPECT_EQ(f.client.status().phase, Phase::down);
    const auto chore = f.pass(2s);
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_TRUE(chore.abandon_dial);
    EXPECT_TRUE(flying.outcome.disconnected);
    // The attempt that succeeds after all is of no use.
    EXPECT_EQ(f.attach(0).code, FaultCode::closed);
}

TEST(Client, WithoutTimesNothingIsWatched) {
    Job slow(CommandType::read);  // in flight to the end
    Fixture f;
    f.pass(10min);
    EXPECT_THAT(f.wire().to_server, IsEmpty());
    f.submit(slow);
    f.pass(10min);
    EXPECT_EQ(f.client.status().phase, Phase::online);
}

TEST(Client, ARequestThatTakesAllItsTimeIsNoLoss) {
    Fixture f({.request_time_max = 8s, .reconnect = patient()});
    f.pass(1h);
    Job slow(CommandType::read);
    f.submit(slow);
    f.pass(8s);
    EXPECT_EQ(f.client.status().phase, Phase::online);
    f.pass(4s);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(slow.good());
}

TEST(Client, AServerThatAnswersIsAskedOnceInEachSilence) {
    Fixture f({.keep_alive = 8s, .reconnect = patient()});
    std::size_t asked = 0;
    for (int second = 0; second < 120; ++second) {
        f.pass(1s);
        asked += f.serve().size();
    }
    EXPECT_GE(asked, 10U);
    EXPECT_LE(asked, 15U);
}

TEST(Client, EveryKindOfChangeIsForcedAndHasItsRangeAlone) {
    for (const auto type : {CommandType::write, CommandType::trim, CommandType::write_zeroes}) {
        Fixture f({.write_through = true, .reconnect = patient()});
        Job change(type);
        Job same_place(CommandType::write);
        f.submit({&change, &same_place});
        const auto seen = f.serve();
        ASSERT_THAT(seen, SizeIs(1));
        EXPECT_EQ(seen[0].flags, command_flag_fua);
        EXPECT_THAT(f.serve(), SizeIs(1));
        EXPECT_TRUE(change.good() && same_place.good());
    }
}

}  // namespace
}  // namespace wnbd::nbd
