// SPDX-License-Identifier: LGPL-2.1-or-later
// Whose tasks an end is about, and whose not; and connections that go while something ends.
#include <gtest/gtest.h>

#include <algorithm>

#include "iscsi/connection.h"
#include "iscsi/test_initiator.h"
#include "iscsi/test_target.h"

namespace wnbd::iscsi {
namespace {

using scsi::Status;
using test::Bytes;
using test::Initiator;
using test::Outcome;
using test::pattern;
using test::Portal;
using test::Reply;
using test::TestTarget;

constexpr std::uint64_t second_unit = std::uint64_t{1} << 48;

class EndingsTest : public testing::Test {
  protected:
    void SetUp() override { log_in(initiator); }

    static void log_in(Initiator& initiator, const Portal& portal = {}) {
        ASSERT_EQ(initiator.login(portal), LoginStatus::success);
        initiator.clear_attention();
        auto ready = initiator.command(Bytes(6), Initiator::none, 0);
        ready.lun = second_unit;
        EXPECT_EQ(initiator.run(ready).sense, 0x062900U);
    }
    TaskResponse response() {
        const auto reply = initiator.next();
        EXPECT_TRUE(reply && reply->opcode() == Opcode::task_management_response);
        return reply ? static_cast<TaskResponse>(reply->header[2]) : TaskResponse::rejected;
    }
    static test::Request read(Initiator& from, std::uint64_t lun = 0) {
        auto request = from.command(Initiator::read10(0, 1), Initiator::reads, 512);
        request.lun = lun;
        return request;
    }

    TestTarget served{test::small_settings(), 2};
    Initiator initiator{served.target};
};

TEST_F(EndingsTest, AnAbortNamesTheLunOfItsTask) {
    served.backend().hold = true;
    const auto held = read(initiator);
    initiator.send(held);
    auto abort = initiator.task_management(TaskFunction::abort_task, held.task_tag,
                                           initiator.command_sn - 1);
    abort.lun = second_unit;
    initiator.send(abort);
    EXPECT_EQ(response(), TaskResponse::no_task);
    served.backend().release_all();
    EXPECT_EQ(initiator.gather(held.task_tag).status, Status::good);
}

TEST_F(EndingsTest, AnAbortIsNotAboutWhatIsSentAfterIt) {
    const std::uint32_t now = initiator.command_sn;
    auto abort = initiator.task_management(TaskFunction::abort_task, 4711, now + 1);
    abort.command_sn = now;
    initiator.send(abort);
    EXPECT_EQ(response(), TaskResponse::no_task);
    EXPECT_EQ(initiator.read(0, 1).status, Status::good);
    EXPECT_EQ(initiator.read(0, 1).status, Status::good) << "its number was not taken";
}

TEST_F(EndingsTest, AnEndOfATaskSetIsNotAboutWhatIsSentAfterIt) {
    const std::uint32_t now = initiator.command_sn;
    auto after = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    after.command_sn = now + 1;
    initiator.send(after);
    auto end = initiator.task_management(TaskFunction::abort_task_set);
    end.command_sn = now;
    initiator.send(end);
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_EQ(initiator.read(0, 1).data, Bytes(512));
    EXPECT_EQ(initiator.gather(after.task_tag).status, Status::good);
    initiator.command_sn = now + 2;
    EXPECT_EQ(initiator.read(0, 1).data, pattern(512));
}

TEST_F(EndingsTest, AResetOfAUnitLeavesWritesOfOthersGathering) {
    auto write = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512);
    write.lun = second_unit;
    initiator.send(write);
    const Reply r2t = initiator.expect_next();
    initiator.send(initiator.task_management(TaskFunction::logical_unit_reset));
    EXPECT_EQ(response(), TaskResponse::complete);
    initiator.answer_r2t(r2t, pattern(512), 512);
    const Outcome outcome = initiator.gather(write.task_tag);
    EXPECT_TRUE(outcome.answered);
    EXPECT_EQ(outcome.status, Status::good);
}

TEST_F(EndingsTest, AResetOfTheTargetReachesEveryUnit) {
    served.backends[1]->hold = true;
    const auto held = read(initiator, second_unit);
    initiator.send(held);
    initiator.send(initiator.task_management(TaskFunction::target_warm_reset));
    EXPECT_FALSE(initiator.next()) << "the second unit's task has not ended";
    served.backends[1]->release_all();
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_FALSE(initiator.gather(held.task_tag).answered);
    served.backends[1]->hold = false;
    for (const std::uint64_t lun : {std::uint64_t{0}, second_unit})
        EXPECT_EQ(initiator.run(read(initiator, lun)).sense, 0x062900U);
}

TEST_F(EndingsTest, AConnectionStaysUntilTheTasksItEndsForOthersHaveEnded) {
    Initiator other(served.target);
    log_in(other, {.isid = 2});
    served.backend().hold = true;
    const auto held = read(other);
    other.send(held);
    initiator.send(initiator.task_management(TaskFunction::logical_unit_reset));
    EXPECT_FALSE(initiator.next());
    initiator.connection.detach();
    EXPECT_FALSE(initiator.connection.drained()) << "the end will still be told to it";
    served.backend().release_all();
    initiator.connection.process_completions();
    EXPECT_TRUE(initiator.connection.drained());
    EXPECT_FALSE(other.gather(held.task_tag).answered);
}

TEST_F(EndingsTest, AWriteThatStillWaitsForDataGoesWithItsConnection) {
    initiator.send(initiator.command(Initiator::write10(0, 2), Initiator::writes, 1024));
    EXPECT_TRUE(initiator.next());
    EXPECT_GT(served.target.buffers().in_use(), 0U);
    initiator.connection.detach();
    EXPECT_TRUE(initiator.connection.drained());
    EXPECT_EQ(served.target.buffers().in_use(), 0U);
}

TEST(EndingsOfMany, DataOnItsWayForAWholeWindowOfAbortedWritesIsDropped) {
    auto settings = test::small_settings();
    settings.command_window = 64;
    TestTarget served(settings);
    Initiator initiator(served.target);
    ASSERT_EQ(initiator.login(), LoginStatus::success);
    initiator.clear_attention();
    std::vector<Reply> asked;
    for (std::uint32_t i = 0; i < settings.command_window; ++i) {
        initiator.send(initiator.command(Initiator::write10(i, 1), Initiator::writes, 512));
        asked.push_back(initiator.expect_next());
        ASSERT_EQ(asked.back().opcode(), Opcode::ready_to_transfer);
    }
    initiator.send(initiator.task_management(TaskFunction::abort_task_set));
    EXPECT_EQ(initiator.expect_next().opcode(), Opcode::task_management_response);
    for (const Reply& r2t : asked)
        initiator.answer_r2t(r2t, pattern(512), 512);
    EXPECT_FALSE(initiator.next()) << "none of it was sent without being asked for";
    const std::uint32_t never_used = 4711;
    initiator.send(initiator.data_out(never_used, 0, 0, 0, pattern(512), true));
    EXPECT_EQ(initiator.expect_next().opcode(), Opcode::reject);
    EXPECT_EQ(initiator.read(0, 1).data, Bytes(512));
}

TEST_F(EndingsTest, ALoginThatWaitsForAnotherSessionsEndDoesNotWaitForEver) {
    served.backend().hold = true;
    initiator.send(read(initiator));
    Initiator second(served.target);
    EXPECT_FALSE(second.login());
    second.connection.tick(second.now_ms + 14'000);
    EXPECT_FALSE(second.connection.finished());
    second.connection.tick(second.now_ms + 16'000);
    EXPECT_TRUE(second.connection.finished());
    served.backend().release_all();
}

// The nexus goes on with the new connection, and is lost with it if that fails on its way in.
TEST_F(EndingsTest, AReinstatedConnectionThatComesToNothingLeavesNoReservation) {
    const Bytes reserve = {0x16, 0, 0, 0, 0, 0};
    EXPECT_EQ(initiator.run(initiator.command(reserve, Initiator::none, 0)).status, Status::good);
    Initiator again(served.target);
    EXPECT_FALSE(again.login({.tsih = initiator.tsih}));
    initiator.connection.process_completions();
    again.connection.tick(again.now_ms + 16'000);
    EXPECT_TRUE(again.connection.finished());
    initiator.connection.detach();
    again.connection.detach();
    EXPECT_TRUE(again.connection.drained());
    EXPECT_EQ(served.target.sessions().size(), 0U);
    Initiator other(served.target);
    log_in(other, {.isid = 2});
    EXPECT_EQ(other.read(0, 1).status, Status::good);
}

TEST_F(EndingsTest, WhoDoesNotReadTheAnswerToItsLogoutIsCutOff) {
    const Bytes logout = initiator.encode({.opcode = Opcode::logout_request, .task_tag = 9});
    const auto room = initiator.connection.receive_room();
    ASSERT_GE(room[0].size, logout.size());
    std::ranges::copy(logout, room[0].data);
    initiator.connection.received(logout.size(), initiator.now_ms);
    const auto after = [this](std::uint64_t time_ms) {
        initiator.connection.tick(initiator.now_ms + time_ms);
        return initiator.connection.finished();
    };
    EXPECT_FALSE(after(0));
    EXPECT_FALSE(after(29'000));
    ASSERT_FALSE(initiator.connection.to_send().empty());
    initiator.connection.sent(1);
    EXPECT_FALSE(after(31'000)) << "it is slow, but it reads";
    EXPECT_FALSE(after(60'000));
    EXPECT_TRUE(after(62'000));
    EXPECT_NE(initiator.connection.reason(), "");
}

TEST_F(EndingsTest, ADiscoverySessionEndsNobodysTasks) {
    served.backend().hold = true;
    const auto held = read(initiator);
    initiator.send(held);
    Initiator visitor(served.target);
    ASSERT_EQ(visitor.login({.discovery = true, .isid = 2}), LoginStatus::success);
    visitor.send(visitor.task_management(TaskFunction::target_warm_reset));
    EXPECT_EQ(visitor.expect_next().opcode(), Opcode::reject);
    // A SCSI command is refused, but its number counts.
    visitor.send(visitor.command(Bytes(6), Initiator::none, 0));
    EXPECT_EQ(visitor.expect_next().opcode(), Opcode::reject);
    visitor.send({.task_tag = 31});
    EXPECT_EQ(visitor.expect_next().task_tag(), 31U);
    served.backend().release_all();
    EXPECT_EQ(initiator.gather(held.task_tag).status, Status::good);
}

// RFC 7143, 11.11.1: no F=1 in answer to a request that says there is more.
TEST_F(EndingsTest, ATextThatIsNotFinalGetsNoFinalAnswer) {
    test::Request text{.opcode = Opcode::text_request, .flags = 0, .task_tag = 4};
    text.bytes_20 = {0xFF, 0xFF, 0xFF, 0xFF};
    text.data = Initiator::text({"SendTargets="});
    initiator.send(text);
    const Reply reply = initiator.expect_next();
    EXPECT_FALSE(reply.final());
    EXPECT_NE(reply.target_tag(), no_tag);
}

TEST_F(EndingsTest, WhatTheTargetAnswersForAllUnitsIsCheckedToo) {
    for (const std::uint64_t lun : {std::uint64_t{0}, std::uint64_t{5} << 48}) {
        const auto report = [&](std::uint8_t select, std::uint8_t control) {
            auto request = initiator.command({0xA0, 0, select, 0, 0, 0, 0, 0, 1, 0, 0, control},
                                             Initiator::reads, 256);
            request.lun = lun;
            return initiator.run(request);
        };
        EXPECT_EQ(report(0, 0).data.size(), 24U);
        EXPECT_EQ(report(1, 0).data, Bytes(8)) << "no well known unit";
        EXPECT_EQ(report(2, 0).data.size(), 24U);
        EXPECT_EQ(report(3, 0).sense, 0x052400U);
        EXPECT_EQ(report(0, 4).sense, 0x052400U) << "NACA";
    }
}

}  // namespace
}  // namespace wnbd::iscsi
