// SPDX-License-Identifier: LGPL-2.1-or-later
// What a session counts: numbers, the window, R2Ts and bursts, residuals. And what of it holds when
// commands end before their time.
#include <gtest/gtest.h>

#include <tuple>

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

class NumbersTest : public testing::Test {
  protected:
    void log_in(const Portal& portal = {}) {
        ASSERT_EQ(initiator.login(portal), LoginStatus::success);
        initiator.clear_attention();
    }
    /// How many numbered requests may come now.
    std::uint32_t window() {
        initiator.send({.immediate = true, .task_tag = 0xFEED});
        const auto echo = initiator.next();
        EXPECT_TRUE(echo && echo->task_tag() == 0xFEED);
        return echo ? echo->max_command_sn() - echo->expected_command_sn() + 1 : 0;
    }
    void expect_alive() {
        EXPECT_EQ(initiator.read(0, 1).status, Status::good);
        EXPECT_EQ(window(), 8U);
        EXPECT_EQ(served.target.buffers().in_use(), 0U);
    }
    test::Request read(bool immediate = false) {
        auto request = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
        request.immediate = immediate;
        return request;
    }
    TaskResponse response() {
        const auto reply = initiator.next();
        EXPECT_TRUE(reply && reply->opcode() == Opcode::task_management_response);
        return reply ? static_cast<TaskResponse>(reply->header[2]) : TaskResponse::rejected;
    }
    /// Bytes for the target, while nothing of what it has to send is taken.
    void give_only(const Bytes& wire) {
        const auto room = initiator.connection.receive_room();
        ASSERT_GE(room.front().size, wire.size());
        std::ranges::copy(wire, room.front().data);
        initiator.connection.received(wire.size(), initiator.now_ms);
    }

    TestTarget served{test::small_settings(), 2};
    Initiator initiator{served.target};
};

TEST_F(NumbersTest, ACommandRightBehindTheWindowNeverRuns) {
    log_in();
    auto beyond = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    beyond.command_sn = initiator.command_sn + 8;
    initiator.send(beyond);
    for (int i = 0; i < 9; ++i)
        EXPECT_EQ(initiator.read(0, 1).data, Bytes(512)) << i;
    expect_alive();
}

TEST_F(NumbersTest, TheWindowIsWholeAgainAfterRequestsOfEveryKind) {
    log_in();
    const std::uint32_t now = initiator.command_sn;
    // Early ones, a NOP among them.
    auto late = read();
    auto early = read();
    late.command_sn = now;
    early.command_sn = now + 2;
    test::Request nop{.task_tag = 777, .command_sn = now + 1};
    initiator.send(early);
    initiator.send(nop);
    initiator.send(late);
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(initiator.next());
    initiator.command_sn = now + 3;
    EXPECT_EQ(window(), 8U);
    // A NOP in its turn.
    initiator.send({.task_tag = 778});
    EXPECT_TRUE(initiator.next());
    EXPECT_EQ(window(), 8U);
    // One that is aborted while the backend has it.
    served.backend().hold = true;
    const auto running = read();
    initiator.send(running);
    EXPECT_EQ(window(), 7U);
    initiator.send(initiator.task_management(TaskFunction::abort_task, running.task_tag));
    served.backend().release_all();
    EXPECT_EQ(response(), TaskResponse::complete);
    served.backend().hold = false;
    EXPECT_EQ(window(), 8U);
    // One that is aborted before its turn.
    auto unborn = read();
    unborn.command_sn = initiator.command_sn + 1;
    initiator.send(unborn);
    initiator.send(initiator.task_management(TaskFunction::abort_task, unborn.task_tag));
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_EQ(window(), 8U);
    EXPECT_EQ(initiator.read(0, 1).status, Status::good);
    ++initiator.command_sn;
    expect_alive();
}

TEST_F(NumbersTest, ImmediateCommandsThatEndedMakeRoomForOthers) {
    log_in();
    for (int i = 0; i < 40; ++i) {
        EXPECT_EQ(initiator.run(read(true)).status, Status::good);  // status with its data
        auto ready = initiator.command(Bytes(6), Initiator::none, 0);
        ready.immediate = true;
        EXPECT_EQ(initiator.run(ready).status, Status::good);  // a response
        served.backend().hold = true;
        const auto aborted = read(true);
        initiator.send(aborted);
        initiator.send(initiator.task_management(TaskFunction::abort_task, aborted.task_tag));
        served.backend().release_all();
        EXPECT_EQ(response(), TaskResponse::complete);
        served.backend().hold = false;
    }
    expect_alive();
}

TEST_F(NumbersTest, NoMoreR2TsAreOutstandingThanAgreed) {
    log_in({.keys = {"MaxBurstLength=1024", "FirstBurstLength=1024", "MaxOutstandingR2T=2"}});
    const Bytes data = pattern(4096);
    const auto write = initiator.command(Initiator::write10(0, 8), Initiator::writes, 4096);
    initiator.send(write);
    std::deque<Reply> asked = {initiator.expect_next(), initiator.expect_next()};
    EXPECT_FALSE(initiator.next());
    for (std::uint32_t burst = 0; burst < 4; ++burst) {
        const Reply r2t = asked.front();
        asked.pop_front();
        EXPECT_EQ(r2t.opcode(), Opcode::ready_to_transfer);
        EXPECT_EQ(r2t.at<std::uint32_t>(36), burst);         // R2TSN
        EXPECT_EQ(r2t.at<std::uint32_t>(40), burst * 1024);  // offset
        EXPECT_EQ(r2t.at<std::uint32_t>(44), 1024U);
        initiator.answer_r2t(r2t, data, 400);
        if (burst < 2) asked.push_back(initiator.expect_next());
        if (burst < 3) {
            EXPECT_FALSE(initiator.next()) << burst;
        }
    }
    const Reply response = initiator.expect_next();
    EXPECT_EQ(response.opcode(), Opcode::scsi_response);
    EXPECT_EQ(response.status(), Status::good);
    EXPECT_EQ(response.at<std::uint32_t>(36), 4U) << "ExpDataSN counts the R2Ts";
    EXPECT_EQ(initiator.read(0, 8).data, data);
    expect_alive();
}

TEST_F(NumbersTest, EachR2THasATagOfItsOwn) {
    log_in({.keys = {"MaxBurstLength=1024", "FirstBurstLength=1024", "MaxOutstandingR2T=2"}});
    const auto write = initiator.command(Initiator::write10(0, 4), Initiator::writes, 2048);
    initiator.send(write);
    const Reply first = initiator.expect_next();
    const Reply second = initiator.expect_next();
    EXPECT_NE(first.target_tag(), second.target_tag());
    // The first burst's data under the second's tag.
    initiator.send(
        initiator.data_out(write.task_tag, second.target_tag(), 0, 0, pattern(1024), true));
    const auto reject = initiator.next();
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->opcode(), Opcode::reject);
    EXPECT_EQ(initiator.gather(write.task_tag).sense, 0x0B0C0DU);
    expect_alive();
}

TEST_F(NumbersTest, UnsolicitedDataEndsAtTheFirstBurst) {
    for (const auto& [what, length, final] :
         {std::tuple{"no end", 1024U, false}, {"nothing", 0U, false}, {"too much", 1536U, true}}) {
        Initiator other(served.target);
        ASSERT_EQ(other.login({.keys = {"InitialR2T=No", "FirstBurstLength=1024"}, .isid = 2}),
                  LoginStatus::success);
        other.clear_attention();
        const auto write =
            other.command(Initiator::write10(0, 8), Initiator::writes, 4096, {}, false);
        other.send(write);
        EXPECT_FALSE(other.next()) << "it is not asked before the unsolicited data is in";
        other.send(other.data_out(write.task_tag, no_tag, 0, 0, pattern(length), final));
        const auto reject = other.next();
        ASSERT_TRUE(reject) << what;
        EXPECT_EQ(reject->opcode(), Opcode::reject) << what;
        EXPECT_EQ(other.gather(write.task_tag).sense, 0x0B0C0DU) << what;
        EXPECT_EQ(other.read(0, 1).data, Bytes(512)) << what;
        other.send({.opcode = Opcode::logout_request, .task_tag = 9});
        EXPECT_TRUE(other.next());
    }
}

TEST_F(NumbersTest, ImmediateDataThatWasRenouncedIsRefused) {
    log_in({.keys = {"ImmediateData=No"}});
    const auto write =
        initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    EXPECT_EQ(initiator.run(write).sense, 0x0B0C0CU);
    EXPECT_EQ(initiator.read(0, 1).data, Bytes(512));
    expect_alive();
}

TEST_F(NumbersTest, WhatACommandWithoutADirectionWouldMoveIsItsResidual) {
    log_in();
    for (const auto& cdb : {Initiator::read10(0, 2), Initiator::write10(0, 2)}) {
        const Outcome outcome = initiator.run(initiator.command(cdb, Initiator::none, 0));
        EXPECT_TRUE(outcome.answered);
        EXPECT_TRUE(outcome.data.empty());
        EXPECT_EQ(outcome.residual, Residual::overflow);
        EXPECT_EQ(outcome.residual_count, 1024U);
    }
    expect_alive();
}

TEST_F(NumbersTest, AnAcaAttributeIsRefused) {
    log_in();
    auto command = read();
    command.flags = Initiator::reads | 0x80 | 4;
    EXPECT_EQ(initiator.run(command).sense, 0x050E03U);
    expect_alive();
}

// The end of a read is copied into the batch, the data before it is not: it must stay while it is
// being sent, whoever else needs a buffer meanwhile.
TEST_F(NumbersTest, DataOnItsWayOutIsNotWrittenOver) {
    log_in({.keys = {"MaxRecvDataSegmentLength=1000"}});
    const Bytes data = pattern(1024, 7);
    EXPECT_EQ(initiator.write(8, data).status, Status::good);
    const auto first = initiator.command(Initiator::read10(8, 2), Initiator::reads, 1024);
    give_only(initiator.encode(first));
    ASSERT_FALSE(initiator.connection.to_send().empty());
    const auto second =
        initiator.command(Initiator::write10(20, 2), Initiator::writes, 1024, pattern(1024, 8));
    give_only(initiator.encode(second));
    EXPECT_EQ(initiator.gather(first.task_tag).data, data);
    EXPECT_EQ(initiator.gather(second.task_tag).status, Status::good);
    expect_alive();
}

TEST_F(NumbersTest, AnEchoFitsTheInitiatorsSegments) {
    log_in({.keys = {"MaxRecvDataSegmentLength=512"}});
    const Bytes data = pattern(600);
    initiator.send({.immediate = true, .task_tag = 5, .data = data});
    const auto echo = initiator.next();
    ASSERT_TRUE(echo);
    EXPECT_EQ(echo->data, Bytes(data.begin(), data.begin() + 512));
}

// Digests.

TEST_F(NumbersTest, PaddingIsUnderTheDigestsBothWays) {
    log_in({.keys = {"HeaderDigest=CRC32C", "DataDigest=CRC32C"}});
    for (const std::size_t length : {1U, 2U, 3U, 5U, 601U, 602U, 603U}) {
        const Bytes data = pattern(length);
        initiator.send({.immediate = true, .task_tag = 5, .data = data});
        const auto echo = initiator.next();
        ASSERT_TRUE(echo) << length;
        EXPECT_EQ(echo->data, data);
    }
    // Data of commands takes another way in: 509 bytes with the command, three when asked for.
    const Bytes data = pattern(512);
    const Bytes start(data.begin(), data.begin() + 509);
    EXPECT_EQ(
        initiator
            .run(initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, start), data)
            .status,
        Status::good);
    EXPECT_EQ(initiator.read(0, 1).data, data);
    expect_alive();
}

TEST_F(NumbersTest, DigestsHoldForDataInPiecesAndForAdditionalSegments) {
    log_in({.keys = {"HeaderDigest=CRC32C", "DataDigest=CRC32C"}});
    auto longer = initiator.command({0x7F, 0, 0, 0, 0, 0, 0, 24}, Initiator::none, 0);
    longer.additional = Bytes(20);
    longer.additional[1] = 17;
    longer.additional[2] = 1;   // the rest of a 32-byte CDB
    longer.additional[19] = 9;  // and under the header's digest, too
    EXPECT_EQ(initiator.run(longer).sense, 0x052000U);
    initiator.chunk = [] { return std::size_t{700}; };
    const Bytes data = pattern(64U << 10);
    const auto write = initiator.command(Initiator::write10(0, 128), Initiator::writes, 64U << 10);
    EXPECT_EQ(initiator.run(write, data, 64U << 10).status, Status::good);
    EXPECT_EQ(initiator.read(0, 128).data, data);
    expect_alive();
}

TEST_F(NumbersTest, DamagedDataOutFailsItsCommandWhenAllOfItHasCome) {
    log_in({.keys = {"DataDigest=CRC32C"}});
    const auto write = initiator.command(Initiator::write10(0, 2), Initiator::writes, 1024);
    initiator.send(write);
    const Reply r2t = initiator.expect_next();
    auto damaged = initiator.data_out(write.task_tag, r2t.target_tag(), 0, 0, pattern(512), false);
    damaged.damage_data = true;
    initiator.send(damaged);
    const auto reject = initiator.next();
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->header[2], static_cast<std::uint8_t>(RejectReason::data_digest_error));
    EXPECT_FALSE(initiator.next()) << "the rest of the burst is still to come";
    initiator.send(
        initiator.data_out(write.task_tag, r2t.target_tag(), 1, 512, pattern(512), true));
    EXPECT_EQ(initiator.gather(write.task_tag).sense, 0x0B4705U);
    EXPECT_TRUE(served.backend().seen.empty());
    expect_alive();
}

TEST_F(NumbersTest, DamagedRequestsAreNotFollowed) {
    log_in({.keys = {"DataDigest=CRC32C"}});
    initiator.send({.immediate = true, .task_tag = 5, .data = {1, 2, 3}, .damage_data = true});
    const auto reject = initiator.next();
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->opcode(), Opcode::reject);
    EXPECT_EQ(reject->header[2], static_cast<std::uint8_t>(RejectReason::data_digest_error));
    EXPECT_FALSE(initiator.next());
    expect_alive();
}

TEST_F(NumbersTest, NothingIsSentBehindADamagedHeader) {
    log_in({.keys = {"HeaderDigest=CRC32C"}});
    give_only(initiator.encode(read()));
    auto damaged = read();
    damaged.damage_header = true;
    give_only(initiator.encode(damaged));
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_TRUE(initiator.connection.to_send().empty());
}

}  // namespace
}  // namespace wnbd::iscsi
