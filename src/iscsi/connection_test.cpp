// SPDX-License-Identifier: LGPL-2.1-or-later
// A session from login to logout: reads, writes, residuals, digests, order.
#include "iscsi/connection.h"

#include <gtest/gtest.h>

#include <tuple>

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
using test::TestTarget;

class ConnectionTest : public testing::Test {
  protected:
    void log_in(const Portal& portal = {}) {
        ASSERT_EQ(initiator.login(portal), LoginStatus::success);
        initiator.clear_attention();
    }
    /// Everything has been given back.
    void expect_nothing_left() {
        initiator.pump();
        EXPECT_EQ(served.target.buffers().in_use(), 0U);
    }

    TestTarget served;
    Initiator initiator{served.target};
};

TEST_F(ConnectionTest, ReadsWhatItWrote) {
    log_in();
    const Bytes data = pattern(8192);
    EXPECT_EQ(initiator.write(10, data).status, Status::good);
    const Outcome outcome = initiator.read(10, 16);
    EXPECT_EQ(outcome.status, Status::good);
    EXPECT_EQ(outcome.data, data);
    EXPECT_EQ(outcome.residual, Residual::none);
    expect_nothing_left();
}

TEST_F(ConnectionTest, BytesMayComeOneByOne) {
    initiator.chunk = [] { return std::size_t{1}; };
    log_in();
    const Bytes data = pattern(2048);
    EXPECT_EQ(initiator.write(3, data).status, Status::good);
    EXPECT_EQ(initiator.read(3, 4).data, data);
    expect_nothing_left();
}

TEST_F(ConnectionTest, ManyPdusMayComeAtOnce) {
    log_in();
    const Bytes data = pattern(4096);
    Bytes wire;
    std::vector<std::uint32_t> tags;
    for (std::uint32_t i = 0; i < 8; ++i) {
        const auto request =
            initiator.command(Initiator::write10(8 * i, 8), Initiator::writes, 4096, data);
        tags.push_back(request.task_tag);
        const Bytes bytes = initiator.encode(request);
        wire.insert(wire.end(), bytes.begin(), bytes.end());
    }
    initiator.feed(wire);
    for (const std::uint32_t tag : tags)
        EXPECT_EQ(initiator.gather(tag).status, Status::good);
    EXPECT_EQ(initiator.read(56, 8).data, data);
    expect_nothing_left();
}

TEST_F(ConnectionTest, ExpectsMoreOfAnInitiatorThatHasManyCommandsUnderWay) {
    log_in();
    const auto write_sent_before = [&](std::uint32_t others) {
        Bytes bytes = initiator.encode(
            initiator.command(Initiator::write10(8, 8), Initiator::writes, 4096, pattern(4096)));
        store_big_endian(&bytes[28], *initiator.next_status_sn - others);
        return bytes;
    };
    const auto expected_after = [&](std::uint32_t others, std::size_t count) {
        Bytes wire;
        while (count-- > 0) {
            const Bytes one = write_sent_before(others);
            wire.insert(wire.end(), one.begin(), one.end());
        }
        initiator.feed(wire);
        return initiator.connection.expects_more();
    };
    EXPECT_FALSE(expected_after(0, 1)) << "it waits for each answer";
    EXPECT_FALSE(expected_after(4, 1)) << "too few to be worth a wait";
    EXPECT_TRUE(expected_after(16, 1));
    EXPECT_FALSE(expected_after(16, 12)) << "most of them are here";
    EXPECT_FALSE(expected_after(0x8000'0000, 1)) << "a number that can't be";
    Bytes part = write_sent_before(16);
    const Bytes rest(part.begin() + 1000, part.end());
    part.resize(1000);
    initiator.feed(part);
    EXPECT_FALSE(initiator.connection.expects_more()) << "its data is on the way";
    initiator.feed(rest);
    initiator.pump();
}

TEST_F(ConnectionTest, LargeWritesAreReceivedIntoTheBackendsBuffer) {
    log_in({.keys = {"MaxBurstLength=262144"}});
    const Bytes data = pattern(64U << 10);
    initiator.chunk = [] { return std::size_t{4096}; };
    const auto request = initiator.command(Initiator::write10(0, 128), Initiator::writes,
                                           static_cast<std::uint32_t>(data.size()));
    initiator.straight = 0;
    EXPECT_EQ(initiator.run(request, data, 64U << 10).status, Status::good);
    EXPECT_GE(initiator.straight, data.size() - 4096);
    EXPECT_EQ(initiator.read(0, 128).data, data);
}

TEST_F(ConnectionTest, DataOutComesInBurstsThatWereAskedFor) {
    log_in({.keys = {"MaxBurstLength=8192", "FirstBurstLength=8192", "MaxOutstandingR2T=2"}});
    const Bytes data = pattern(std::size_t{30} * 512);
    const auto request = initiator.command(Initiator::write10(5, 30), Initiator::writes,
                                           static_cast<std::uint32_t>(data.size()));
    initiator.send(request);
    const test::Reply first = initiator.expect_next();
    const test::Reply second = initiator.expect_next();
    EXPECT_EQ(first.opcode(), Opcode::ready_to_transfer);
    EXPECT_EQ(first.at<std::uint32_t>(44), 8192U);
    EXPECT_EQ(second.at<std::uint32_t>(36), 1U);  // R2TSN
    EXPECT_EQ(second.at<std::uint32_t>(40), 8192U);
    EXPECT_EQ(second.at<std::uint32_t>(44), 30U * 512 - 8192);
    EXPECT_FALSE(initiator.next());
    initiator.answer_r2t(first, data, 3000);
    initiator.answer_r2t(second, data, 3000);
    EXPECT_EQ(initiator.gather(request.task_tag).status, Status::good);
    EXPECT_EQ(initiator.read(5, 30).data, data);
}

TEST_F(ConnectionTest, UnsolicitedDataComesUnasked) {
    log_in({.keys = {"InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=4096"}});
    const Bytes data = pattern(8192);
    const Bytes start(data.begin(), data.begin() + 1024);
    const Bytes rest(data.begin() + 1024, data.begin() + 4096);
    const auto request =
        initiator.command(Initiator::write10(0, 16), Initiator::writes, 8192, start, false);
    initiator.send(request);
    EXPECT_FALSE(initiator.next());
    initiator.send(initiator.data_out(request.task_tag, no_tag, 0, 1024, rest, true));
    EXPECT_EQ(initiator.gather(request.task_tag, data).status, Status::good);
    EXPECT_EQ(initiator.read(0, 16).data, data);
}

TEST_F(ConnectionTest, DataInFitsTheInitiatorsSegmentsAndBursts) {
    log_in({.keys = {"MaxRecvDataSegmentLength=1000", "MaxBurstLength=2048",
                     "FirstBurstLength=2048"}});
    const Bytes data = pattern(4096);
    EXPECT_EQ(initiator.write(0, data).status, Status::good);
    const auto request = initiator.command(Initiator::read10(0, 8), Initiator::reads, 4096);
    initiator.send(request);
    Outcome outcome;
    std::vector<bool> ends;
    while (const auto reply = initiator.next()) {
        EXPECT_LE(reply->data.size(), 1000U);
        ends.push_back(reply->final());
        Initiator::take(*reply, outcome);
    }
    EXPECT_EQ(outcome.data, data);
    EXPECT_EQ(ends, (std::vector<bool>{false, false, true, false, false, true}));
}

TEST_F(ConnectionTest, DigestsGuardBothWays) {
    log_in({.keys = {"HeaderDigest=CRC32C", "DataDigest=CRC32C"}});
    ASSERT_TRUE(initiator.header_digest && initiator.data_digest);
    const Bytes data = pattern(5 * 512);
    EXPECT_EQ(initiator.write(1, data).status, Status::good);
    EXPECT_EQ(initiator.read(1, 5).data, data);
}

TEST_F(ConnectionTest, ADamagedHeaderClosesTheConnection) {
    log_in({.keys = {"HeaderDigest=CRC32C"}});
    auto request = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    request.damage_header = true;
    initiator.send(request);
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_NE(initiator.connection.reason().find("header digest"), std::string::npos);
}

TEST_F(ConnectionTest, DamagedDataIsRejectedAndTheCommandFails) {
    log_in({.keys = {"DataDigest=CRC32C", "InitialR2T=No"}});
    auto request =
        initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    request.damage_data = true;
    initiator.send(request);
    const auto reject = initiator.next();
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->opcode(), Opcode::reject);
    EXPECT_EQ(reject->header[2], static_cast<std::uint8_t>(RejectReason::data_digest_error));
    const Outcome outcome = initiator.gather(request.task_tag);
    EXPECT_EQ(outcome.status, Status::check_condition);
    EXPECT_EQ(outcome.sense, 0x0B4705U);
    EXPECT_TRUE(served.backend().seen.empty());
    EXPECT_EQ(initiator.read(0, 1).data, Bytes(512));
}

struct ResidualCase {
    const char* what;
    std::uint16_t blocks;
    std::uint32_t expected;
    Residual residual;
    std::uint32_t count;
};

TEST_F(ConnectionTest, ResidualsOfReads) {
    log_in();
    for (const auto& [what, blocks, expected, residual, count] :
         {ResidualCase{"all", 2, 1024, Residual::none, 0},
          ResidualCase{"none expected", 1, 0, Residual::overflow, 512},
          ResidualCase{"less expected", 1, 200, Residual::overflow, 312},
          ResidualCase{"one of two blocks", 2, 512, Residual::overflow, 512},
          ResidualCase{"more expected", 1, 10000, Residual::underflow, 9488},
          ResidualCase{"nothing moved", 0, 100, Residual::underflow, 100}}) {
        const Outcome outcome = initiator.run(
            initiator.command(Initiator::read10(0, blocks), Initiator::reads, expected));
        EXPECT_EQ(outcome.status, Status::good) << what;
        EXPECT_EQ(outcome.residual, residual) << what;
        EXPECT_EQ(outcome.residual_count, count) << what;
        EXPECT_EQ(outcome.data.size(), std::min<std::size_t>(expected, blocks * 512U)) << what;
    }
    expect_nothing_left();
}

TEST_F(ConnectionTest, ResidualsOfWrites) {
    log_in();
    const Bytes data = pattern(10000);
    for (const auto& [what, blocks, expected, residual, count] :
         {ResidualCase{"all", 2, 1024, Residual::none, 0},
          ResidualCase{"more expected", 1, 10000, Residual::underflow, 9488},
          ResidualCase{"nothing moved", 0, 100, Residual::underflow, 100}}) {
        const Outcome outcome = initiator.run(
            initiator.command(Initiator::write10(0, blocks), Initiator::writes, expected), data);
        EXPECT_EQ(outcome.status, Status::good) << what;
        EXPECT_EQ(outcome.residual, residual) << what;
        EXPECT_EQ(outcome.residual_count, count) << what;
    }
    for (const auto& [what, blocks, expected, residual, count] :
         {ResidualCase{"none expected", 1, 0, Residual::overflow, 512},
          ResidualCase{"less expected", 1, 200, Residual::overflow, 312},
          ResidualCase{"one of two blocks", 2, 512, Residual::overflow, 512}}) {
        const Outcome outcome = initiator.run(
            initiator.command(Initiator::write10(20, blocks), Initiator::writes, expected), data);
        EXPECT_TRUE(outcome.answered) << what;
        EXPECT_EQ(outcome.residual, residual) << what;
        EXPECT_EQ(outcome.residual_count, count) << what;
    }
    EXPECT_EQ(initiator.read(21, 1).data, Bytes(512));
    expect_nothing_left();
}

TEST_F(ConnectionTest, MoreDataThanACompareAndWriteTakesIsRefused) {
    log_in();
    Bytes cdb(16);
    cdb[0] = 0x89;
    // Twice the blocks it names; 256 blocks are none in a field of one byte.
    for (const auto& [blocks, expected, sense] :
         {std::tuple{1U, 1024U, 0U}, {1U, 1536U, 0x052400U}, {0U, 512U * 512U, 0x052400U}}) {
        cdb[13] = static_cast<std::uint8_t>(blocks);
        const Outcome outcome =
            initiator.run(initiator.command(cdb, Initiator::writes, expected), Bytes(expected));
        EXPECT_EQ(outcome.sense, sense) << blocks << " " << expected;
    }
    expect_nothing_left();
}

TEST_F(ConnectionTest, ACommandOfTheOtherDirectionMovesNothing) {
    log_in();
    const Bytes data = pattern(512);
    const Outcome read =
        initiator.run(initiator.command(Initiator::read10(0, 1), Initiator::writes, 512, data));
    EXPECT_EQ(read.status, Status::good);
    EXPECT_TRUE(read.data.empty());
    EXPECT_EQ(read.residual, Residual::underflow);
    EXPECT_EQ(read.residual_count, 512U);
    const Outcome both =
        initiator.run(initiator.command(Initiator::read10(0, 1), Initiator::both, 512));
    EXPECT_EQ(both.sense, 0x050E03U);
    expect_nothing_left();
}

TEST_F(ConnectionTest, SenseDataTellsWhy) {
    log_in();
    const Outcome outcome = initiator.read(test::disk_size / 512, 1);
    EXPECT_EQ(outcome.status, Status::check_condition);
    EXPECT_EQ(outcome.sense, 0x052100U);
    EXPECT_EQ(outcome.residual, Residual::underflow);
    EXPECT_EQ(outcome.residual_count, 512U);
}

TEST_F(ConnectionTest, CommandsOutOfOrderWaitForTheirTurn) {
    log_in();
    const std::uint32_t first = initiator.command_sn;
    auto late = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    auto early = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    late.command_sn = first;
    early.command_sn = first + 2;
    test::Request nop{.task_tag = 777, .command_sn = first + 1};
    nop.bytes_20 = {0xFF, 0xFF, 0xFF, 0xFF};
    nop.data = {1, 2, 3};
    initiator.send(early);
    initiator.send(early);  // twice the same
    initiator.send(nop);
    EXPECT_FALSE(initiator.next());
    initiator.send(late);
    EXPECT_EQ(initiator.next()->task_tag(), late.task_tag);
    const auto echo = initiator.next();
    EXPECT_EQ(echo->task_tag(), 777U);
    EXPECT_EQ(echo->data, (Bytes{1, 2, 3}));
    const auto read = initiator.next();
    EXPECT_EQ(read->task_tag(), early.task_tag);
    EXPECT_EQ(read->data, pattern(512));
    EXPECT_EQ(read->expected_command_sn(), first + 3);
    EXPECT_FALSE(initiator.next());
    expect_nothing_left();
}

TEST_F(ConnectionTest, NumbersOutsideTheWindowAreIgnored) {
    log_in();
    const std::uint32_t now = initiator.command_sn;
    for (const std::uint32_t number : {now - 1, now + 8, now + 0x8000'0000U}) {
        auto request = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
        request.command_sn = number;
        initiator.send(request);
        EXPECT_FALSE(initiator.next());
    }
    EXPECT_EQ(initiator.read(0, 1).status, Status::good);
}

TEST_F(ConnectionTest, TheWindowClosesWhileCommandsAreUnderWay) {
    log_in();
    served.backend().hold = true;
    std::vector<std::uint32_t> tags;
    for (unsigned i = 0; i < 8; ++i) {
        const auto request = initiator.command(Initiator::read10(i, 1), Initiator::reads, 512);
        tags.push_back(request.task_tag);
        initiator.send(request);
    }
    test::Request nop{.immediate = true, .task_tag = 999};
    initiator.send(nop);
    const auto echo = initiator.next();
    ASSERT_TRUE(echo);
    EXPECT_EQ(echo->max_command_sn() + 1, echo->expected_command_sn());
    served.backend().release_all();
    for (const std::uint32_t tag : tags)
        EXPECT_EQ(initiator.gather(tag).status, Status::good);
    initiator.send(nop);
    const auto open = initiator.next();
    EXPECT_EQ(open->max_command_sn() - open->expected_command_sn(), 7U);
    expect_nothing_left();
}

TEST_F(ConnectionTest, ATagInUseIsRejected) {
    log_in();
    served.backend().hold = true;
    const auto request = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    initiator.send(request);
    initiator.send(request);
    const auto reject = initiator.next();
    ASSERT_TRUE(reject);
    EXPECT_EQ(reject->header[2], static_cast<std::uint8_t>(RejectReason::task_in_progress));
    served.backend().hold = false;
    served.backend().release_all();
    EXPECT_EQ(initiator.gather(request.task_tag).status, Status::good);
    EXPECT_EQ(initiator.read(0, 1).status, Status::good);
}

TEST_F(ConnectionTest, ALunWithoutAUnit) {
    log_in();
    auto inquiry = initiator.command({0x12, 0, 0, 0, 255, 0}, Initiator::reads, 255);
    inquiry.lun = std::uint64_t{5} << 48;
    const Outcome nothing = initiator.run(inquiry);
    EXPECT_EQ(nothing.status, Status::good);
    ASSERT_EQ(nothing.data.size(), 36U);
    EXPECT_EQ(nothing.data[0], 0x7F);
    auto ready = initiator.command(Bytes(6), Initiator::none, 0);
    ready.lun = std::uint64_t{5} << 48;
    EXPECT_EQ(initiator.run(ready).sense, 0x052500U);
    auto write = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    write.lun = std::uint64_t{5} << 48;
    EXPECT_EQ(initiator.run(write).sense, 0x052500U);
    auto report = initiator.command({0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, Initiator::reads, 256);
    report.lun = std::uint64_t{5} << 48;
    EXPECT_EQ(initiator.run(report).data, (Bytes{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
    expect_nothing_left();
}

TEST_F(ConnectionTest, NopIsEchoed) {
    log_in();
    const Bytes data = pattern(5000);
    initiator.send({.immediate = true, .task_tag = 5, .data = data});
    const auto echo = initiator.next();
    ASSERT_TRUE(echo);
    EXPECT_EQ(echo->opcode(), Opcode::nop_in);
    EXPECT_EQ(echo->task_tag(), 5U);
    EXPECT_EQ(echo->data, data);
    initiator.send({.immediate = true, .task_tag = no_tag});  // no answer wanted
    EXPECT_FALSE(initiator.next());
}

TEST_F(ConnectionTest, WhatComesTogetherGoesToTheBackendTogether) {
    log_in();
    Bytes wire;
    for (unsigned i = 0; i < 5; ++i) {
        const Bytes one =
            initiator.encode(initiator.command(Initiator::read10(i, 1), Initiator::reads, 512));
        wire.insert(wire.end(), one.begin(), one.end());
    }
    initiator.feed(wire);
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_TRUE(initiator.next());
    EXPECT_EQ(served.backend().batches, std::vector<std::size_t>{5});
    expect_nothing_left();
}

TEST_F(ConnectionTest, WhatCameBeforeALogoutIsDoneBeforeIt) {
    log_in();
    Bytes wire =
        initiator.encode(initiator.command(Initiator::read10(0, 1), Initiator::reads, 512));
    const Bytes logout = initiator.encode({.opcode = Opcode::logout_request, .task_tag = 9});
    wire.insert(wire.end(), logout.begin(), logout.end());
    initiator.feed(wire);
    const auto data = initiator.next();
    ASSERT_TRUE(data);
    EXPECT_EQ(data->opcode(), Opcode::data_in);
    const auto reply = initiator.next();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->opcode(), Opcode::logout_response);
}

TEST_F(ConnectionTest, ASilentInitiatorIsAskedAndThenDropped) {
    log_in();
    initiator.connection.tick(initiator.now_ms + 31'000);
    const auto ping = initiator.next();
    ASSERT_TRUE(ping);
    EXPECT_EQ(ping->opcode(), Opcode::nop_in);
    EXPECT_NE(ping->target_tag(), no_tag);
    initiator.now_ms += 40'000;
    test::Request pong{.immediate = true, .task_tag = no_tag};
    pong.bytes_20 = {0, 0, 0, 1};
    initiator.send(pong);
    initiator.connection.tick(initiator.now_ms + 29'000);
    EXPECT_FALSE(initiator.next());
    initiator.connection.tick(initiator.now_ms + 31'000);
    EXPECT_TRUE(initiator.next());
    initiator.connection.tick(initiator.now_ms + 62'000);
    EXPECT_TRUE(initiator.connection.finished());
}

TEST_F(ConnectionTest, AnAnswerWithinTheSameMillisecondCounts) {
    log_in();
    initiator.now_ms += 31'000;
    initiator.connection.tick(initiator.now_ms);
    ASSERT_TRUE(initiator.next());
    test::Request pong{.immediate = true, .task_tag = no_tag};
    pong.bytes_20 = {0, 0, 0, 1};
    initiator.send(pong);
    initiator.connection.tick(initiator.now_ms + 31'000);  // asks again
    EXPECT_TRUE(initiator.next());
    EXPECT_FALSE(initiator.connection.finished());
}

TEST_F(ConnectionTest, ALoginThatTakesTooLongIsCutOff) {
    initiator.connection.tick(initiator.now_ms + 14'000);
    EXPECT_FALSE(initiator.connection.finished());
    initiator.connection.tick(initiator.now_ms + 16'000);
    EXPECT_TRUE(initiator.connection.finished());
}

TEST_F(ConnectionTest, LogoutEndsTheSession) {
    log_in();
    initiator.send({.opcode = Opcode::logout_request, .task_tag = 9});
    const auto reply = initiator.next();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->opcode(), Opcode::logout_response);
    EXPECT_EQ(reply->header[2], 0);
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_EQ(initiator.connection.reason(), "");
}

TEST_F(ConnectionTest, LogoutWaitsForTheTasks) {
    log_in();
    served.backend().hold = true;
    initiator.send(initiator.command(Initiator::read10(0, 1), Initiator::reads, 512));
    initiator.send({.opcode = Opcode::logout_request, .task_tag = 9});
    EXPECT_FALSE(initiator.next());
    served.backend().release_all();
    const auto reply = initiator.next();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->opcode(), Opcode::logout_response);
    EXPECT_TRUE(initiator.connection.finished());
    expect_nothing_left();
}

TEST_F(ConnectionTest, OnlyLogoutsThatCanBeDoneAreDone) {
    log_in();
    initiator.send(
        {.opcode = Opcode::logout_request, .flags = 0x81, .task_tag = 9, .bytes_20 = {0, 7, 0, 0}});
    EXPECT_EQ(initiator.next()->header[2], 1);  // no such connection
    initiator.send({.opcode = Opcode::logout_request, .flags = 0x82, .task_tag = 9});
    EXPECT_EQ(initiator.next()->header[2], 2);  // no recovery
    EXPECT_FALSE(initiator.connection.finished());
    initiator.send(
        {.opcode = Opcode::logout_request, .flags = 0x81, .task_tag = 9, .bytes_20 = {0, 1, 0, 0}});
    EXPECT_EQ(initiator.next()->header[2], 0);
    EXPECT_TRUE(initiator.connection.finished());
}

TEST_F(ConnectionTest, TheInitiatorIsAskedToLogOut) {
    log_in();
    initiator.connection.ask_for_logout(5);
    const auto message = initiator.next();
    ASSERT_TRUE(message);
    EXPECT_EQ(message->opcode(), Opcode::async_message);
    EXPECT_EQ(message->header[36], 1);
    EXPECT_EQ(message->at<std::uint16_t>(42), 5);
}

TEST_F(ConnectionTest, SendTargetsInADiscoverySession) {
    ASSERT_EQ(initiator.login({.discovery = true}), LoginStatus::success);
    test::Request request{.opcode = Opcode::text_request, .task_tag = 4};
    request.bytes_20 = {0xFF, 0xFF, 0xFF, 0xFF};
    request.data = Initiator::text({"SendTargets=All"});
    initiator.send(request);
    const auto reply = initiator.next();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->opcode(), Opcode::text_response);
    EXPECT_TRUE(reply->final());
    EXPECT_EQ(reply->data, Initiator::text({"TargetName=iqn.2026-11.org.example:disk",
                                            "TargetAddress=127.0.0.1:3260,1"}));
    initiator.send(initiator.command(Bytes(6), Initiator::none, 0));
    EXPECT_EQ(initiator.next()->opcode(), Opcode::reject);
}

TEST_F(ConnectionTest, ALongAnswerComesInPieces) {
    ASSERT_EQ(initiator.login({.keys = {"MaxRecvDataSegmentLength=512"}, .discovery = true}),
              LoginStatus::success);
    Bytes text;
    test::Request request{.opcode = Opcode::text_request, .task_tag = 4};
    request.bytes_20 = {0xFF, 0xFF, 0xFF, 0xFF};
    std::vector<std::string> keys;
    for (int i = 0; i < 60; ++i)
        keys.push_back("X-org.example.key" + std::to_string(i) + "=1");
    request.data = Initiator::text(keys);
    initiator.send(request);
    auto reply = initiator.next();
    for (int i = 0; reply && !reply->final() && i < 10; ++i) {
        EXPECT_EQ(reply->header[1] & 0x40, 0x40);
        text.insert(text.end(), reply->data.begin(), reply->data.end());
        test::Request more{.opcode = Opcode::text_request, .task_tag = 4};
        more.bytes_20.resize(4);
        store_big_endian(more.bytes_20.data(), reply->target_tag());
        initiator.send(more);
        reply = initiator.next();
    }
    ASSERT_TRUE(reply);
    EXPECT_TRUE(reply->final());
    text.insert(text.end(), reply->data.begin(), reply->data.end());
    EXPECT_EQ(std::ranges::count(text, 0), 60);
    EXPECT_GT(text.size(), 512U);
}

}  // namespace
}  // namespace wnbd::iscsi
