// SPDX-License-Identifier: LGPL-2.1-or-later
// What a disk must not remember, or must not forget, when things come in an unusual order.
#include <gtest/gtest.h>

#include "engine/disk.h"
#include "engine/model/disk_fixture.h"

namespace wnbd::engine {
namespace {

using model::block_size;
using model::Command;
using model::Fetched;
using platform::native::advance_time_ms;

struct DiskCornersTest : model::DiskFixture {
    static constexpr StaleRule rule{15'000, 60'000};

    void take_down() {
        ASSERT_TRUE(disk.begin_removal());
        disk.await_idle();
        disk.finish_removal();
    }
    Disk::Start post_from(scsi::Nexus nexus, Command& command) {
        scsi::Command scsi_command = command.command();
        scsi_command.nexus = nexus;
        scsi::Answer answer;
        const Disk::Start start = disk.start(&command, scsi_command, answer);
        if (start == Disk::Start::answered) command.keep(answer);
        return start;
    }
    /// The unit attention that an initiator's next command reports; 0: none.
    std::uint32_t told(scsi::Nexus nexus) {
        Command ready(model::test_unit_ready_cdb());
        ready.cdb_length = 6;
        EXPECT_EQ(post_from(nexus, ready), Disk::Start::answered);
        return ready.key == scsi::SenseKey::unit_attention ? ready.additional : 0;
    }

    Command command{model::read_cdb(0, 1), block_size};
    Command another{model::read_cdb(1, 1), block_size};
};

TEST_F(DiskCornersTest, ASecondReplyToAStepDoesNotAnswerTheNext) {
    bring_up();
    Command write(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(write), Disk::Start::pending);
    const Fetched first = *fetch();
    ASSERT_TRUE(server.answer(disk, first));
    const Fetched flush = *fetch();
    EXPECT_NE(flush.tag, first.tag);
    EXPECT_FALSE(server.answer(disk, first));
    EXPECT_EQ(write.completions, 0u) << "its flush has not been done";
    EXPECT_TRUE(server.answer(disk, flush));
    EXPECT_TRUE(write.succeeded());
}

TEST_F(DiskCornersTest, AnAtomicRequestThatWasHandedBackAndAbortedBlocksNobody) {
    bring_up();
    Command atomic(model::compare_and_write_cdb(9, 1), std::size_t{2} * block_size);
    ASSERT_EQ(post(atomic), Disk::Start::pending);
    ASSERT_EQ(post(command), Disk::Start::pending);
    disk.return_unfetched(*take());
    EXPECT_TRUE(disk.abort(&atomic, {}, wait).finished);
    serve();
    EXPECT_EQ(command.completions, 1u);
    EXPECT_TRUE(command.succeeded());
}

TEST_F(DiskCornersTest, ABusResetSaysSo) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    ASSERT_EQ(post(another), Disk::Start::pending);
    EXPECT_TRUE(disk.drain(Cause::bus_reset, {}).finished);
    EXPECT_EQ(command.cause, Cause::bus_reset);
    EXPECT_EQ(another.cause, Cause::bus_reset);
}

// Initiators.

TEST_F(DiskCornersTest, AClearTellsThoseWhoseCommandsNobodyHadFetched) {
    bring_up();
    ASSERT_EQ(post_from(2, command), Disk::Start::pending);
    ASSERT_EQ(post_from(1, another), Disk::Start::pending);
    EXPECT_TRUE(disk.clear(1, {}, wait).finished);
    EXPECT_EQ(command.cause, Cause::aborted);
    EXPECT_EQ(another.cause, Cause::aborted);
    EXPECT_EQ(told(2), 0x2F00u);
    EXPECT_EQ(told(1), 0u) << "it was its own doing";
}

TEST_F(DiskCornersTest, ANewNexusIsNotToldWhatWasMeantForTheLast) {
    bring_up();
    disk.lose_nexus(5);
    disk.resize(2 * model::block_count);  // everybody is told, also who is not there
    disk.begin_nexus(5);
    EXPECT_EQ(told(5), 0x2900u);
    EXPECT_EQ(told(5), 0u);
    EXPECT_EQ(told(6), 0x2A09u);
}

// What a disk is when it comes again.

TEST_F(DiskCornersTest, ADiskThatComesAgainRemembersNoRequest) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    ASSERT_EQ(post(another), Disk::Start::pending);
    ASSERT_TRUE(reset().finished);
    take_down();
    bring_up();
    const Counters counters = disk.counters();
    EXPECT_EQ(counters.received, 0);
    EXPECT_EQ(counters.submitted, 0);
    EXPECT_EQ(counters.aborted_submitted, 0);
    EXPECT_EQ(counters.aborted_unsubmitted, 0);
    EXPECT_EQ(counters.last_received_at, 0u);
    // Nor that nobody ever answered the last one's.
    advance_time_ms(10'000'000);
    command.completions = 0;
    ASSERT_EQ(post(command), Disk::Start::pending);
    advance_time_ms(30'000);
    ResetWait each;
    EXPECT_FALSE(disk.drain(Cause::aborted, rule, each).stale);
}

// The stale rule.

TEST_F(DiskCornersTest, TheEndOfAStepIsASignOfLife) {
    bring_up();
    Command write(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(write), Disk::Start::pending);
    const Fetched first = *fetch();
    advance_time_ms(50'000);
    ASSERT_TRUE(server.answer(disk, first));
    advance_time_ms(50'000);
    EXPECT_FALSE(reset(nullptr, rule).stale) << "silent for 50 s, though the request is older";
}

TEST_F(DiskCornersTest, OfWhatIsOwedTheOldestCountsWhicheverWasAbortedFirst) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    advance_time_ms(50'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    for (Command* const victim : {&another, &command}) {
        ResetWait each;
        EXPECT_FALSE(disk.abort(victim, rule, each).stale);
    }
    advance_time_ms(10'001);
    Command young(model::read_cdb(2, 1), block_size);
    ASSERT_EQ(post(young), Disk::Start::pending);
    ResetWait each;
    EXPECT_TRUE(disk.abort(&young, rule, each).stale);
}

// docs/driver.md: any of the requests that user space owes, not only the one that is aborted now.
TEST_F(DiskCornersTest, AYoungRequestsAbortShowsThatAnOldOneWasForgotten) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    advance_time_ms(60'001);
    ASSERT_EQ(post(another), Disk::Start::pending);
    EXPECT_TRUE(disk.abort(&another, rule, wait).stale);
}

TEST_F(DiskCornersTest, WhatCouldNotBeHandedOutIsNotOwed) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    disk.reject(*take());
    EXPECT_EQ(command.cause, Cause::failed);
    advance_time_ms(10'000'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(30'000);
    EXPECT_FALSE(reset(nullptr, rule).stale) << "it has been silent for 30 s, not for hours";
}

}  // namespace
}  // namespace wnbd::engine
