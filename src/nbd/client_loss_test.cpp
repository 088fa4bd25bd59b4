// SPDX-License-Identifier: LGPL-2.1-or-later
// The client through losses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
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

TEST(Client, WhatWasNotAnsweredIsReplayedInOrder) {
    Fixture f;
    Job answered(CommandType::write, 0);
    Job first(CommandType::write, 512);
    Job second(CommandType::read, 1024);
    Job third(CommandType::flush);
    f.submit({&answered, &first, &second, &third});
    const auto seen = f.wire().take_all();
    ASSERT_THAT(seen, SizeIs(4));
    f.wire().answer(seen[0]);
    f.end();
    EXPECT_TRUE(answered.good());
    EXPECT_EQ(f.client.status().phase, Phase::down);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::hang_up);
    Job later(CommandType::read, 2048);
    f.submit(later);
    EXPECT_EQ(first.ended + second.ended + third.ended + later.ended, 0U);

    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    const auto replayed = f.serve();
    ASSERT_THAT(replayed, SizeIs(4));
    EXPECT_EQ(replayed[0].offset, 512U);
    EXPECT_EQ(replayed[0].payload, first.buffer);
    EXPECT_EQ(replayed[1].offset, 1024U);
    EXPECT_EQ(replayed[2].type, CommandType::flush);
    EXPECT_EQ(replayed[3].offset, 2048U);
    EXPECT_TRUE(first.good() && second.good() && third.good() && later.good());
    EXPECT_EQ(f.client.status().reconnects, 1U);
}

TEST(Client, AReplayedChangeKeepsNewerOnesOut) {
    Fixture f;
    Job older(CommandType::write, 0);
    f.submit(older);
    f.end();
    Job newer(CommandType::write, 0);
    f.submit(newer);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    EXPECT_THAT(f.wire().take_all(), SizeIs(1));
    f.end();
    ASSERT_FALSE(f.pass(2s).dial == std::nullopt);
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_TRUE(older.good());
    EXPECT_EQ(newer.ended, 0U);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(newer.good());
}

TEST(Client, LossOfALineReplaysThoseInFlightFirst) {
    Fixture f({.commands_max = 2, .reconnect = patient()});
    Job a(CommandType::read, 0);
    Job b(CommandType::read, 512);
    Job c(CommandType::read, 1024);
    Job d(CommandType::read, 1536);
    f.submit({&a, &b, &c, &d});
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_EQ(seen[0].offset, 0U);
    EXPECT_EQ(seen[1].offset, 512U);
    seen = f.serve();
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_EQ(seen[0].offset, 1024U);
    EXPECT_TRUE(a.good() && b.good() && c.good() && d.good());
}

TEST(Client, WithoutAPolicyALossIsTheEnd) {
    Fixture f(ClientLimits{.reconnect = {.timeout = 0ms}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    EXPECT_EQ(flying.ended, 1U);
    EXPECT_TRUE(flying.outcome.disconnected);
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::hang_up);
    Job late(CommandType::read);
    f.submit(late);
    EXPECT_TRUE(late.outcome.disconnected);
    EXPECT_EQ(f.client.look_after(f.now).dial, std::nullopt);
}

TEST(Client, GivesUpWhenThePolicysTimeIsOver) {
    Fixture f({.reconnect = {.delay = 1s, .timeout = 5s}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    for (int attempts = 0; f.client.status().phase == Phase::down; ++attempts) {
        ASSERT_LT(attempts, 10);
        if (f.pass(10s).dial) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    }
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::connect_failed);
    EXPECT_TRUE(flying.outcome.disconnected);
    EXPECT_EQ(flying.ended, 1U);
}

TEST(Client, HoldsForAsLongAsItTakes) {
    Fixture f({.reconnect = {.delay = 1s, .timeout = 5s, .on_timeout = OnTimeout::hold}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    for (int i = 0; i < 20; ++i)
        if (f.pass(60s).dial) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    EXPECT_EQ(flying.ended, 0U);
    while (!f.pass(60s).dial) {
    }
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(flying.good());
}

TEST(Client, ACloseWhileReconnectingEndsAtOnce) {
    Fixture f;
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.client.close(f.now);
    EXPECT_EQ(flying.ended, 1U);
    EXPECT_EQ(flying.outcome.error, error_shutdown);
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_TRUE(f.client.look_after(f.now).abandon_dial);
    // The dial that was under way comes too late.
    EXPECT_EQ(f.attach(0).code, FaultCode::closed);
}

TEST(Client, AnotherExportIsRefusedAndTriedAgain) {
    Fixture f;
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    EXPECT_EQ(f.reconnect(agreement(disk_size, usual_flags | transmission_read_only)).code,
              FaultCode::export_changed);
    EXPECT_EQ(f.client.status().phase, Phase::down);
    EXPECT_EQ(flying.ended, 0U);
    ASSERT_TRUE(f.pass(5s).dial);
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(flying.good());
}

TEST(Client, AServerThatHasNoTlsAnyMoreIsRefused) {
    auto safe = agreement();
    safe.tls = true;
    Fixture f({.reconnect = patient()}, safe);
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    EXPECT_EQ(f.reconnect(agreement()).code, FaultCode::export_changed);
    EXPECT_EQ(flying.ended, 0U);
    ASSERT_TRUE(f.pass(5s).dial);
    EXPECT_EQ(f.attach(0, safe).code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(flying.good());
}

TEST(Client, AnotherSizeIsAResize) {
    Fixture f;
    Job inside(CommandType::write, 0);
    Job beyond(CommandType::write, disk_size - 512);
    Job beyond_too(CommandType::read, disk_size - 1024);
    f.submit({&inside, &beyond, &beyond_too});
    f.end();
    ASSERT_EQ(f.reconnect(agreement(disk_size / 2)).code, FaultCode::none);
    EXPECT_EQ(f.client.size(), disk_size / 2);
    EXPECT_EQ(f.client.status().size, disk_size / 2);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(inside.good());
    EXPECT_EQ(beyond.outcome.error, error_no_space);
    EXPECT_EQ(beyond_too.outcome.error, error_invalid);

    f.end();
    ASSERT_TRUE(f.pass(5s).dial);
    ASSERT_EQ(f.attach(0, agreement(disk_size * 2)).code, FaultCode::none);
    EXPECT_EQ(f.client.size(), disk_size * 2);
}

TEST(Client, AServerThatSaysShutdownIsLeftAndItsSuccessorServes) {
    Fixture f;
    Job kept(CommandType::write);
    f.submit(kept);
    (void)f.serve(0, error_shutdown);
    EXPECT_EQ(kept.ended, 0U);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::server_shutting_down);
    EXPECT_TRUE(f.wire().sending_over);
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(kept.good());
}

TEST(Client, AServerThatAlwaysSaysShutdownIsBelievedAtLast) {
    Fixture f({.reconnect = {.delay = 1ms, .timeout = 1h}});
    Job kept(CommandType::write);
    f.submit(kept);
    for (unsigned i = 1; i < Client::shutdowns_max; ++i) {
        (void)f.serve(0, error_shutdown);
        ASSERT_EQ(kept.ended, 0U) << i;
        f.end();
        f.now += 10s;
        ASSERT_EQ(f.reconnect().code, FaultCode::none);
    }
    (void)f.serve(0, error_shutdown);
    EXPECT_EQ(kept.ended, 1U);
    EXPECT_EQ(kept.outcome.error, error_shutdown);
}

TEST(Client, ASilentServerIsLeftAfterTheRequestsTime) {
    Fixture f({.request_time_max = 3s, .reconnect = patient()});
    Job unanswered(CommandType::read);
    f.submit(unanswered);
    (void)f.wire().take_all();
    f.pass(2s);
    EXPECT_EQ(f.client.status().phase, Phase::online);
    f.pass(3s);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::timed_out);
    // Its end is waited for, but not for ever.
    EXPECT_TRUE(f.wire().sending_over);
    EXPECT_FALSE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    f.pass(3s);
    EXPECT_TRUE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::down);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(unanswered.good());
}

TEST(Client, ALateAnswerOfAServerThatIsLeftStillCounts) {
    Fixture f({.request_time_max = 1s, .reconnect = patient()});
    Job slow(CommandType::write);
    f.submit(slow);
    const auto seen = f.wire().take_all();
    f.pass(3s);
    ASSERT_EQ(f.client.status().phase, Phase::breaking);
    f.wire().answer(seen.at(0));
    f.end();
    EXPECT_TRUE(slow.good());
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    EXPECT_THAT(f.wire().take_all(), IsEmpty());
}

TEST(Client, TimeThatNobodySawPassDoesNotCount) {
    Job slow(CommandType::read);  // in flight to the end
    Fixture f({.request_time_max = 10s, .reconnect = patient()});
    f.submit(slow);
    (void)f.client.look_after(f.now);
    f.now += 1h;
    (void)f.client.look_after(f.now);
    EXPECT_EQ(f.client.status().phase, Phase::online);
}

TEST(Client, AJoinThatComesAfterTheLossIsSentAway) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.end();
    // Nothing else is dialled before the answer, which is asked for.
    const auto chore = f.client.look_after(f.now);
    EXPECT_FALSE(chore.dial);
    EXPECT_TRUE(chore.abandon_dial);
    const auto fault = f.attach(1);
    EXPECT_EQ(fault.code, FaultCode::closed);
    f.client.dial_failed(fault, f.now);
    EXPECT_EQ(f.reconnect().code, FaultCode::none);
}

TEST(Client, AllAddressesAreTriedInTurn) {
    Fixture f({.reconnect = patient()}, agreement(), 3);
    f.end();
    constexpr std::size_t none = 99;
    std::vector<std::size_t> tried;
    for (int i = 0; i < 3; ++i) {
        tried.push_back(f.client.look_after(f.now).dial.value_or(none));
        if (i < 2) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    }
    EXPECT_THAT(tried, ElementsAre(0, 1, 2));
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    f.now += 10s;
    f.end();
    EXPECT_EQ(f.client.look_after(f.now).dial, 2U);
}

// The system may go on sending old writes until then.
TEST(Client, ALostStreamIsGoneBeforeASuccessorMayBeDialled) {
    bool closed = false;
    Fixture f;
    f.wire().on_close = [&] {
        closed = true;
        EXPECT_EQ(f.client.status().phase, Phase::breaking);
        EXPECT_FALSE(f.client.look_after(f.now).dial);
    };
    f.end();
    EXPECT_TRUE(closed);
    EXPECT_EQ(f.client.status().phase, Phase::down);
    EXPECT_TRUE(f.client.look_after(f.now).dial);
}

TEST(Client, AHalfSentWriteIsReplayedWhole) {
    Fixture f;
    f.wire().room = request_size + 100;
    Job write(CommandType::write);
    f.submit(write);
    EXPECT_EQ(f.wire().to_server.size(), request_size + 100);
    f.end();
    EXPECT_EQ(write.ended, 0U);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].payload, write.buffer);
    EXPECT_TRUE(write.good());
}

TEST(Client, ACommandOfSeveralPiecesIsReplayedFromItsBeginning) {
    auto small = agreement();
    small.info.maximum_payload = 512;
    Fixture f({.reconnect = patient()}, small);
    Job write(CommandType::write, 0, 1024);
    f.submit(write);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_EQ(write.ended, 0U);
    f.end();
    ASSERT_EQ(f.reconnect(small).code, FaultCode::none);
    auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].offset, 0U);
    (void)f.serve();
    EXPECT_TRUE(write.good());
}

}  // namespace
}  // namespace wnbd::nbd
