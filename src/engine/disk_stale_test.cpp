// SPDX-License-Identifier: LGPL-2.1-or-later
// The stale rule: a request aged over request_timeout_ms, and user space silent for over
// connection_timeout_ms while it owed an answer.
#include <gtest/gtest.h>

#include "engine/disk.h"
#include "engine/model/disk_fixture.h"

namespace wnbd::engine {
namespace {

using model::block_size;
using model::Command;
using model::Fetched;
using platform::native::advance_time_ms;

struct DiskStaleTest : model::DiskFixture {
    static constexpr StaleRule rule{15'000, 60'000};
    Command command{model::read_cdb(0, 1), block_size};
    Command another{model::read_cdb(1, 1), block_size};
};

TEST_F(DiskStaleTest, ABackendThatNeverAnsweredBecomesStale) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    advance_time_ms(60'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    EXPECT_FALSE(disk.abort(&another, rule, wait).stale) << "not for a young request";
    ResetWait again;
    advance_time_ms(1);
    EXPECT_TRUE(disk.abort(&command, rule, again).stale);
}

TEST_F(DiskStaleTest, SoDoesOneThatNeverFetched) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    advance_time_ms(60'001);
    EXPECT_TRUE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, ItIsNotStaleAtTheLimit) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    advance_time_ms(60'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, NorWhenTheClockOfTheResetsProcessorIsBehind) {
    bring_up();
    advance_time_ms(100'000);
    ASSERT_EQ(post(command), Disk::Start::pending);
    platform::native::advance_time(~std::uint64_t{0});  // a tick back
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, AnIdleConnectionIsNeverStale) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    serve();
    advance_time_ms(10'000'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(30'000);
    EXPECT_FALSE(reset(nullptr, rule).stale) << "it has been silent for 30 s, not for hours";
}

TEST_F(DiskStaleTest, ABackendThatAnswersOthersIsNotStale) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(fetch().has_value());
    advance_time_ms(50'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    serve();
    ASSERT_TRUE(another.succeeded());
    advance_time_ms(50'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, SilenceIsNotForgottenBecauseRequestsAreAborted) {
    bring_up();
    for (int i = 0; i < 2; ++i) {
        command.completions = 0;
        ASSERT_EQ(post(command), Disk::Start::pending);
        ASSERT_TRUE(fetch().has_value());
        advance_time_ms(30'001);
        ResetWait each;
        EXPECT_EQ(disk.drain(Cause::aborted, rule, each).stale, i == 1) << i;
    }
}

// Windows's own time-out may be shorter than the rule's for requests: each is then aborted young.
TEST_F(DiskStaleTest, NorBecauseEachIsAbortedYoung) {
    bring_up();
    for (int i = 0; i < 8; ++i) {
        command.completions = 0;
        ASSERT_EQ(post(command), Disk::Start::pending);
        ASSERT_TRUE(fetch().has_value());
        advance_time_ms(10'000);
        ResetWait each;
        EXPECT_EQ(disk.abort(&command, rule, each).stale, i >= 6) << i;
    }
}

TEST_F(DiskStaleTest, NorBecauseEachIsAbortedYoungAndUnfetched) {
    bring_up();
    for (int i = 0; i < 8; ++i) {
        command.completions = 0;
        ASSERT_EQ(post(command), Disk::Start::pending);
        advance_time_ms(10'000);
        ResetWait each;
        EXPECT_EQ(disk.abort(&command, rule, each).stale, i >= 6) << i;
    }
}

TEST_F(DiskStaleTest, NorWhereNothingIsEverFetched) {
    bring_up();
    for (int i = 0; i < 3; ++i) {
        command.completions = 0;
        ASSERT_EQ(post(command), Disk::Start::pending);
        advance_time_ms(30'001);
        ResetWait each;
        EXPECT_EQ(disk.drain(Cause::aborted, rule, each).stale, i > 0) << i;
    }
}

TEST_F(DiskStaleTest, AFetcherThatComesBackMissesNothingOfThePast) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    advance_time_ms(30'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
    EXPECT_FALSE(fetch().has_value());
    advance_time_ms(10'000'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(30'000);
    ResetWait each;
    EXPECT_FALSE(disk.drain(Cause::aborted, rule, each).stale);
}

TEST_F(DiskStaleTest, AReplyThatFailedWasASignOfLife) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    disk.fail_reply(*disk.begin_reply(fetch()->tag));
    advance_time_ms(10'000'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(30'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, SoWasOneThatAResetOvertook) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    Request* const replying = disk.begin_reply(fetch()->tag);
    ResetWait first;
    EXPECT_FALSE(disk.drain(Cause::aborted, rule, first).finished);
    disk.finish_reply(*replying, {}, {});
    EXPECT_EQ(command.cause, Cause::aborted);
    advance_time_ms(10'000'000);
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(30'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

TEST_F(DiskStaleTest, ALateReplyIsASignOfLife) {
    bring_up();
    ASSERT_EQ(post(command), Disk::Start::pending);
    const Fetched late = *fetch();
    advance_time_ms(59'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
    EXPECT_FALSE(server.answer(disk, late));
    ASSERT_EQ(post(another), Disk::Start::pending);
    advance_time_ms(20'000);
    EXPECT_FALSE(reset(nullptr, rule).stale);
}

}  // namespace
}  // namespace wnbd::engine
