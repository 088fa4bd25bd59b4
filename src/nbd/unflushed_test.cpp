// SPDX-License-Identifier: LGPL-2.1-or-later
// What the client says, when it is back, of what had been acknowledged and not flushed.
#include "nbd/unflushed.h"

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
using ::testing::SizeIs;
using Phase = Client::Phase;
using namespace std::chrono_literals;

/// Lost and back: what does the client say?
bool told_after_loss(Fixture& f, const Agreement& with = agreement()) {
    f.end();
    f.now += 10s;
    EXPECT_EQ(f.reconnect(with).code, FaultCode::none);
    return f.client.status().unflushed_at_loss;
}

void make(Fixture& f, CommandType type, std::uint16_t flags = 0, std::uint32_t error = 0) {
    Job job(type);
    job.request.command.flags = flags;
    f.submit(job);
    EXPECT_THAT(f.serve(0, error), SizeIs(1));
    EXPECT_EQ(job.ended, 1U);
}

TEST(Unflushed, NothingWrittenIsNothingToLose) {
    Fixture f;
    make(f, CommandType::read);
    make(f, CommandType::flush);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, AnyKindOfChangeCounts) {
    for (const auto type : {CommandType::write, CommandType::trim, CommandType::write_zeroes}) {
        Fixture f;
        make(f, type);
        EXPECT_FALSE(f.client.status().unflushed_at_loss) << "there was no loss yet";
        EXPECT_TRUE(told_after_loss(f));
    }
}

TEST(Unflushed, AFlushCoversWhatWasAcknowledgedBeforeIt) {
    Fixture f;
    make(f, CommandType::write);
    make(f, CommandType::flush);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, AForcedChangeIsStable) {
    Fixture f;
    make(f, CommandType::write, command_flag_fua);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, WrittenThroughNothingIsCached) {
    constexpr std::uint16_t no_fua = transmission_has_flags | transmission_send_flush;
    for (const auto& server : {agreement(), agreement(disk_size, no_fua)}) {
        Fixture f({.write_through = true, .reconnect = patient()}, server);
        Job write(CommandType::write);
        f.submit(write);
        while (write.ended == 0)
            (void)f.serve();
        EXPECT_FALSE(told_after_loss(f, server));
    }
}

TEST(Unflushed, AServerThatHasNeitherFlushNorFuaHasNoCache) {
    const auto plain = agreement(disk_size, transmission_has_flags);
    Fixture f({.reconnect = patient()}, plain);
    make(f, CommandType::write);
    EXPECT_FALSE(told_after_loss(f, plain));
}

TEST(Unflushed, WhatIsReplayedIsNotLost) {
    Job write(CommandType::write);
    Fixture f;
    f.submit(write);
    (void)f.wire().take_all();
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, ARefusedChangeIsNone) {
    Fixture f;
    make(f, CommandType::write, 0, error_no_space);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, AFlushInFlightAtTheLossHasCoveredNothing) {
    Job flush(CommandType::flush);
    Fixture f;
    make(f, CommandType::write);
    f.submit(flush);
    EXPECT_THAT(f.wire().take_all(), SizeIs(1));
    EXPECT_TRUE(told_after_loss(f));
    // It is replayed, and covers what comes from now on.
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(flush.good());
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, AFailedFlushHasCoveredNothing) {
    Fixture f;
    make(f, CommandType::write);
    make(f, CommandType::flush, 0, error_io);
    EXPECT_TRUE(told_after_loss(f));
}

TEST(Unflushed, WhatIsAcknowledgedWhileAFlushIsInFlightIsNotCovered) {
    Fixture f;
    make(f, CommandType::write);
    Job flush(CommandType::flush);
    f.submit(flush);
    const auto sent = f.wire().take_all();
    ASSERT_THAT(sent, SizeIs(1));
    make(f, CommandType::write);
    f.wire().answer(sent[0]);
    f.turn();
    EXPECT_TRUE(flush.good());
    EXPECT_TRUE(told_after_loss(f));
}

TEST(Unflushed, ALaterFlushCoversForAnEarlierOne) {
    Job first(CommandType::flush);
    Job second(CommandType::flush);
    Fixture f;
    make(f, CommandType::write);
    f.submit({&first, &second});
    const auto sent = f.wire().take_all();
    ASSERT_THAT(sent, SizeIs(2));
    f.wire().answer(sent[1]);
    f.turn();
    EXPECT_TRUE(second.good());
    EXPECT_EQ(first.ended, 0U);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, ALateAnswerOfAServerThatIsLeftCounts) {
    Job slow(CommandType::write);
    Fixture f({.request_time_max = 1s, .reconnect = patient()});
    f.submit(slow);
    const auto sent = f.wire().take_all();
    f.pass(3s);
    ASSERT_EQ(f.client.status().phase, Phase::breaking);
    f.wire().answer(sent.at(0));
    f.turn();
    EXPECT_TRUE(slow.good());
    EXPECT_TRUE(told_after_loss(f));
}

TEST(Unflushed, EachLossIsToldUntilAFlushHasSucceeded) {
    Fixture f;
    make(f, CommandType::write);
    EXPECT_TRUE(told_after_loss(f));
    EXPECT_TRUE(told_after_loss(f));
    make(f, CommandType::flush);
    EXPECT_FALSE(told_after_loss(f));
}

TEST(Unflushed, WritesOfOtherConnectionsAreCoveredByTheOneFlush) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    ASSERT_EQ(f.attach(1).code, FaultCode::none);
    std::uint64_t place = 0;
    const auto write_on = [&](unsigned index) {
        for (;; place += 1U << 20) {
            Job write(CommandType::write, place);
            f.submit(write);
            const auto seen = f.serve(0).size() + 2 * f.serve(1).size();
            EXPECT_TRUE(write.good());
            if (seen == index + 1) return;
        }
    };
    write_on(1);
    make(f, CommandType::flush);
    f.end(1);
    EXPECT_FALSE(told_after_loss(f));
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    ASSERT_EQ(f.attach(1).code, FaultCode::none);
    write_on(1);
    f.end(1);
    EXPECT_TRUE(told_after_loss(f));
}

}  // namespace
}  // namespace wnbd::nbd
