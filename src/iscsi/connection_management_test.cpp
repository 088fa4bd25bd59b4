// SPDX-License-Identifier: LGPL-2.1-or-later
// Task management, sessions that meet, and input that no honest initiator sends.
#include <gtest/gtest.h>

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
using test::TestTarget;

class ManagementTest : public testing::Test {
  protected:
    void SetUp() override { log_in(initiator); }

    static void log_in(Initiator& initiator, const Portal& portal = {}) {
        ASSERT_EQ(initiator.login(portal), LoginStatus::success);
        initiator.clear_attention();
    }
    /// The answer to a request that is sent now.
    TaskResponse manage(const test::Request& request) {
        initiator.send(request);
        return response();
    }
    TaskResponse response() {
        const auto reply = initiator.next();
        EXPECT_TRUE(reply && reply->opcode() == Opcode::task_management_response);
        return reply ? static_cast<TaskResponse>(reply->header[2]) : TaskResponse::rejected;
    }
    RejectReason rejected(const test::Request& request) {
        initiator.send(request);
        const auto reply = initiator.next();
        EXPECT_TRUE(reply && reply->opcode() == Opcode::reject);
        if (!reply) return {};
        EXPECT_EQ(reply->data.size(), header_length);
        EXPECT_EQ(reply->data[0] & 0x3F, static_cast<int>(request.opcode));
        return static_cast<RejectReason>(reply->header[2]);
    }
    void expect_alive() {
        EXPECT_EQ(initiator.read(0, 1).status, Status::good);
        EXPECT_EQ(served.target.buffers().in_use(), 0U);
    }

    TestTarget served{test::small_settings(), 2};
    Initiator initiator{served.target};
};

TEST_F(ManagementTest, AnAbortWaitsForTheBackend) {
    served.backend().hold = true;
    const auto read = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    initiator.send(read);
    initiator.send(initiator.task_management(TaskFunction::abort_task, read.task_tag));
    EXPECT_FALSE(initiator.next());
    served.backend().release_all();
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_FALSE(initiator.next());  // nothing of the command
    served.backend().hold = false;
    expect_alive();
}

TEST_F(ManagementTest, AWriteThatStillWaitsForDataIsAbortedAtOnce) {
    const auto write = initiator.command(Initiator::write10(0, 2), Initiator::writes, 1024);
    initiator.send(write);
    const test::Reply r2t = initiator.expect_next();
    EXPECT_EQ(manage(initiator.task_management(TaskFunction::abort_task, write.task_tag)),
              TaskResponse::complete);
    // What was on its way is dropped without a word.
    initiator.answer_r2t(r2t, pattern(1024), 512);
    EXPECT_FALSE(initiator.next());
    EXPECT_TRUE(served.backend().seen.empty());
    expect_alive();
}

TEST_F(ManagementTest, AbortsOfUnknownTags) {
    EXPECT_EQ(
        manage(initiator.task_management(TaskFunction::abort_task, 4711, initiator.command_sn - 1)),
        TaskResponse::no_task);
    // The command's number is in the window, and has not come yet: it counts as come.
    const std::uint32_t missing = initiator.command_sn;
    auto late = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    late.command_sn = missing;
    auto abort = initiator.task_management(TaskFunction::abort_task, late.task_tag, missing);
    abort.command_sn = missing + 1;
    EXPECT_EQ(manage(abort), TaskResponse::complete);
    initiator.send(late);
    EXPECT_FALSE(initiator.next());
    initiator.command_sn = missing + 1;
    expect_alive();
}

TEST_F(ManagementTest, AnEarlyCommandCanBeAborted) {
    const std::uint32_t now = initiator.command_sn;
    auto early = initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(512));
    early.command_sn = now + 1;
    initiator.send(early);
    EXPECT_EQ(manage(initiator.task_management(TaskFunction::abort_task, early.task_tag)),
              TaskResponse::complete);
    EXPECT_EQ(initiator.read(0, 1).data, Bytes(512));  // takes the number before
    initiator.command_sn = now + 2;
    expect_alive();
}

TEST_F(ManagementTest, AbortTaskSetEndsOnlyThisUnitsTasks) {
    served.backends[0]->hold = served.backends[1]->hold = true;
    const auto here = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    auto there = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    there.lun = std::uint64_t{1} << 48;
    initiator.send(here);
    // The second unit has its own power-on attention.
    auto ready = initiator.command(Bytes(6), Initiator::none, 0);
    ready.lun = there.lun;
    EXPECT_EQ(initiator.run(ready).status, Status::check_condition);
    initiator.send(there);
    initiator.send(initiator.task_management(TaskFunction::abort_task_set));
    served.backends[1]->release_all();
    EXPECT_EQ(initiator.gather(there.task_tag).status, Status::good);
    EXPECT_FALSE(initiator.next());
    served.backends[0]->release_all();
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_FALSE(initiator.gather(here.task_tag).answered);
    served.backends[0]->hold = false;
    expect_alive();
}

TEST_F(ManagementTest, ResetsEndEverythingAndAreTold) {
    for (const TaskFunction function :
         {TaskFunction::logical_unit_reset, TaskFunction::target_warm_reset}) {
        served.backends[0]->hold = true;
        const auto read = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
        initiator.send(read);
        initiator.send(initiator.task_management(function));
        EXPECT_FALSE(initiator.next());
        served.backends[0]->release_all();
        EXPECT_EQ(response(), TaskResponse::complete);
        served.backends[0]->hold = false;
        EXPECT_EQ(initiator.read(0, 1).sense, 0x062900U);
        expect_alive();
    }
}

TEST_F(ManagementTest, AColdResetEndsAllSessions) {
    Initiator other(served.target);
    log_in(other, {.isid = 2});
    EXPECT_EQ(manage(initiator.task_management(TaskFunction::target_cold_reset)),
              TaskResponse::complete);
    EXPECT_TRUE(initiator.connection.finished());
    other.pump();
    EXPECT_TRUE(other.connection.finished());
}

TEST_F(ManagementTest, ClearTaskSetEndsTheOthersTasksToo) {
    Initiator other(served.target);
    log_in(other, {.isid = 2});
    served.backend().hold = true;
    const auto read = other.command(Initiator::read10(0, 1), Initiator::reads, 512);
    other.send(read);
    initiator.send(initiator.task_management(TaskFunction::clear_task_set));
    EXPECT_FALSE(initiator.next());
    served.backend().release_all();
    EXPECT_EQ(response(), TaskResponse::complete);
    EXPECT_FALSE(other.gather(read.task_tag).answered);
    served.backend().hold = false;
    EXPECT_EQ(other.read(0, 1).sense, 0x062F00U);
    EXPECT_EQ(other.read(0, 1).status, Status::good);
    expect_alive();
}

TEST_F(ManagementTest, WhatIsNotSupportedIsSaid) {
    EXPECT_EQ(manage(initiator.task_management(TaskFunction::clear_aca)),
              TaskResponse::not_supported);
    EXPECT_EQ(manage(initiator.task_management(TaskFunction::task_reassign)),
              TaskResponse::reassignment_not_supported);
    auto nowhere = initiator.task_management(TaskFunction::logical_unit_reset);
    nowhere.lun = std::uint64_t{9} << 48;
    EXPECT_EQ(manage(nowhere), TaskResponse::no_logical_unit);
    EXPECT_EQ(manage(initiator.task_management(static_cast<TaskFunction>(77))),
              TaskResponse::rejected);
}

// Sessions that meet.

TEST_F(ManagementTest, ANewLoginOfTheSamePortReplacesTheSession) {
    served.backend().hold = true;
    initiator.send(initiator.command(Initiator::read10(0, 1), Initiator::reads, 512));
    auto second = std::make_unique<Initiator>(served.target);
    EXPECT_FALSE(second->login());  // the old session's task has not ended
    initiator.pump();
    EXPECT_TRUE(initiator.connection.finished());
    initiator.connection.detach();
    EXPECT_FALSE(initiator.connection.drained());
    EXPECT_FALSE(second->login_answer());
    served.backend().hold = false;
    served.backend().release_all();
    initiator.connection.process_completions();
    EXPECT_TRUE(initiator.connection.drained());
    EXPECT_EQ(second->login_answer(), LoginStatus::success);
    second->clear_attention();
    EXPECT_EQ(second->read(0, 1).status, Status::good);
    EXPECT_EQ(served.target.sessions().size(), 1U);
}

TEST_F(ManagementTest, OtherPortsHaveTheirOwnSessions) {
    Initiator second(served.target);
    log_in(second, {.isid = 2});
    Initiator third(served.target);
    log_in(third, {.initiator = "iqn.2026-11.org.example:other"});
    EXPECT_EQ(served.target.sessions().size(), 3U);
    EXPECT_NE(second.tsih, initiator.tsih);
    EXPECT_EQ(second.read(0, 1).status, Status::good);
    expect_alive();
}

TEST_F(ManagementTest, OnlyItsOwnPortEntersASession) {
    Initiator thief(served.target);
    EXPECT_EQ(thief.login({.tsih = initiator.tsih, .initiator = "iqn.2026-11.org.example:thief"}),
              LoginStatus::session_does_not_exist);
    EXPECT_TRUE(thief.connection.finished());
    Initiator wrong_isid(served.target);
    EXPECT_EQ(wrong_isid.login({.isid = 9, .tsih = initiator.tsih}),
              LoginStatus::session_does_not_exist);
    Initiator wrong_tsih(served.target);
    EXPECT_EQ(wrong_tsih.login({.tsih = static_cast<std::uint16_t>(initiator.tsih + 1)}),
              LoginStatus::session_does_not_exist);
    Initiator second_connection(served.target);
    EXPECT_EQ(second_connection.login({.tsih = initiator.tsih, .connection_id = 2}),
              LoginStatus::too_many_connections);
    expect_alive();
}

TEST_F(ManagementTest, AConnectionIsReinstated) {
    const std::uint16_t tsih = initiator.tsih;
    Initiator again(served.target);
    EXPECT_FALSE(again.login({.tsih = tsih}));
    initiator.pump();
    EXPECT_TRUE(initiator.connection.finished());
    initiator.connection.detach();
    EXPECT_EQ(again.login_answer(), LoginStatus::success);
    EXPECT_EQ(again.tsih, tsih);
    // The nexus was not lost: no attention.
    EXPECT_EQ(again.read(0, 1).status, Status::good);
}

TEST_F(ManagementTest, RegistrationsAreNamedAfterTheirPort) {
    auto reserve = initiator.command({0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0}, Initiator::writes, 24);
    Bytes list(24);
    list[15] = 0x42;  // SERVICE ACTION RESERVATION KEY
    EXPECT_EQ(initiator.run(reserve, list).status, Status::good);
    const Outcome status =
        initiator.run(initiator.command({0x5E, 3, 0, 0, 0, 0, 0, 1, 0, 0}, Initiator::reads, 256));
    ASSERT_EQ(status.status, Status::good);
    const std::string_view text(reinterpret_cast<const char*>(status.data.data()),
                                status.data.size());
    EXPECT_NE(text.find("iqn.2026-11.org.example:initiator,i,0x800000000001"),
              std::string_view::npos);
    EXPECT_EQ(status.data[8 + 24], 0x45);
    EXPECT_EQ(status.data.size() % 4, 0U);
}

TEST_F(ManagementTest, WhatASessionHeldIsFreeWhenItsLogoutIsAnswered) {
    Initiator other(served.target);
    log_in(other, {.isid = 2});
    const auto reserve = [](Initiator& who) {
        return who.run(who.command({0x16, 0, 0, 0, 0, 0}, Initiator::none, 0)).status;
    };
    ASSERT_EQ(reserve(initiator), Status::good);
    ASSERT_EQ(reserve(other), Status::reservation_conflict);
    initiator.send({.opcode = Opcode::logout_request, .task_tag = 9});
    ASSERT_EQ(initiator.expect_next().opcode(), Opcode::logout_response);
    EXPECT_EQ(reserve(other), Status::good);
}

TEST_F(ManagementTest, ARegisteredPortKeepsItsNexus) {
    Bytes list(24);
    list[15] = 0x42;
    EXPECT_EQ(
        initiator
            .run(initiator.command({0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0}, Initiator::writes, 24), list)
            .status,
        Status::good);
    initiator.connection.detach();
    std::vector<std::unique_ptr<Initiator>> others;
    for (std::uint8_t isid = 2; isid < 5; ++isid) {
        others.push_back(std::make_unique<Initiator>(served.target));
        log_in(*others.back(), {.isid = isid});
    }
    Initiator again(served.target);
    log_in(again);
    // Its registration is still its own.
    EXPECT_EQ(again
                  .run(again.command({0x5F, 1, 3, 0, 0, 0, 0, 0, 24, 0}, Initiator::writes, 24),
                       [] {
                           Bytes key(24);
                           key[7] = 0x42;
                           return key;
                       }())
                  .status,
              Status::good);
    EXPECT_EQ(others[0]->read(0, 1).status, Status::reservation_conflict);
}

TEST(SessionLimit, OneMoreIsTold) {
    auto settings = test::small_settings();
    settings.sessions_max = 2;
    TestTarget served(settings);
    Initiator first(served.target);
    Initiator second(served.target);
    Initiator third(served.target);
    EXPECT_EQ(first.login({.isid = 1}), LoginStatus::success);
    EXPECT_EQ(second.login({.isid = 2}), LoginStatus::success);
    EXPECT_EQ(third.login({.isid = 3}), LoginStatus::out_of_resources);
    EXPECT_TRUE(third.connection.finished());
    second.connection.detach();
    Initiator fourth(served.target);
    EXPECT_EQ(fourth.login({.isid = 4}), LoginStatus::success);
}

TEST(BufferLimit, CommandsAreRefusedPolitely) {
    auto settings = test::small_settings();
    settings.buffer_bytes_max = 64U << 10;
    TestTarget served(settings);
    Initiator initiator(served.target);
    EXPECT_EQ(initiator.login(), LoginStatus::success);
    initiator.clear_attention();
    EXPECT_EQ(initiator.read(0, 256).status, Status::busy);
    served.backend().hold = true;
    const auto under_way = initiator.command(Initiator::read10(0, 128), Initiator::reads, 65536);
    initiator.send(under_way);
    EXPECT_EQ(initiator.write(0, pattern(1024)).status, Status::task_set_full);
    served.backend().release_all();
    EXPECT_EQ(initiator.gather(under_way.task_tag).status, Status::good);
    served.backend().hold = false;
    EXPECT_EQ(initiator.write(0, pattern(1024)).status, Status::good);
}

// It would not be sent again, and what is numbered after it would never run.
TEST(BufferLimit, ARequestBeforeItsTurnThatCannotBeKeptEndsTheConnection) {
    auto settings = test::small_settings();
    settings.buffer_bytes_max = 64U << 10;
    TestTarget served(settings);
    Initiator initiator(served.target);
    EXPECT_EQ(initiator.login(), LoginStatus::success);
    initiator.clear_attention();
    served.backend().hold = true;
    initiator.send(initiator.command(Initiator::read10(0, 128), Initiator::reads, 65536));
    initiator.send({.task_tag = 30, .command_sn = initiator.command_sn + 1});
    EXPECT_FALSE(initiator.connection.finished()) << "without data it needs no buffer";
    initiator.send({.task_tag = 31, .command_sn = initiator.command_sn + 2, .data = Bytes(100)});
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_NE(initiator.connection.reason().find("no memory"), std::string::npos);
    served.backend().release_all();
}

// Bad input.

TEST_F(ManagementTest, DataOutThatNobodyAskedFor) {
    EXPECT_EQ(rejected(initiator.data_out(4711, 1, 0, 0, pattern(512), true)),
              RejectReason::protocol_error);
    EXPECT_EQ(rejected(initiator.data_out(4711, no_tag, 0, 0, pattern(512), true)),
              RejectReason::protocol_error);
    expect_alive();
}

TEST_F(ManagementTest, DataOutThatDoesNotFitItsBurst) {
    struct Case {
        const char* what;
        std::uint32_t target_tag_change;
        std::uint32_t data_sn;
        std::uint32_t offset;
        std::uint32_t length;
        bool final;
    };
    for (const auto& [what, change, data_sn, offset, length, final] :
         {Case{"another target tag", 1, 0, 0, 1024, true},
          Case{"a gap in DataSN", 0, 1, 0, 1024, true},
          Case{"a gap in the offset", 0, 0, 512, 512, true}, Case{"too much", 0, 0, 0, 1536, true},
          Case{"an end too early", 0, 0, 0, 512, true}, Case{"no end", 0, 0, 0, 1024, false},
          Case{"nothing", 0, 0, 0, 0, false}}) {
        const auto write = initiator.command(Initiator::write10(0, 2), Initiator::writes, 1024);
        initiator.send(write);
        const test::Reply r2t = initiator.expect_next();
        EXPECT_EQ(rejected(initiator.data_out(write.task_tag, r2t.target_tag() + change, data_sn,
                                              offset, pattern(length), final)),
                  RejectReason::invalid_pdu_field)
            << what;
        const Outcome outcome = initiator.gather(write.task_tag);
        EXPECT_EQ(outcome.status, Status::check_condition) << what;
        EXPECT_EQ(outcome.sense >> 16, 0x0BU) << what;
        expect_alive();
    }
    EXPECT_TRUE(served.log.says("peer: "));
}

TEST_F(ManagementTest, UnsolicitedDataThatWasNotAgreedOn) {
    // InitialR2T is Yes.
    const auto write =
        initiator.command(Initiator::write10(0, 2), Initiator::writes, 1024, pattern(512), false);
    EXPECT_EQ(initiator.run(write).sense, 0x0B0C0CU);
    // Immediate data with a read.
    EXPECT_EQ(
        initiator
            .run(initiator.command(Initiator::read10(0, 1), Initiator::reads, 512, pattern(512)))
            .sense,
        0x0B0C0CU);
    // More than is expected.
    EXPECT_EQ(
        initiator
            .run(initiator.command(Initiator::write10(0, 1), Initiator::writes, 512, pattern(1024)))
            .sense,
        0x0B0C0CU);
    EXPECT_TRUE(served.log.says("peer: a command with data that was not agreed upon"));
    expect_alive();
}

TEST_F(ManagementTest, TooMuchImmediateDataEndsTheCommandAtOnceThoughMoreIsToCome) {
    Initiator other{served.target};
    log_in(other, {.keys = {"InitialR2T=No", "FirstBurstLength=1024"}, .isid = 2});
    const auto write =
        other.command(Initiator::write10(0, 8), Initiator::writes, 4096, pattern(2048), false);
    EXPECT_EQ(other.run(write).sense, 0x0B0C0CU);
    // What was under way is let pass.
    other.send(other.data_out(write.task_tag, no_tag, 0, 2048, pattern(2048), true));
    EXPECT_FALSE(other.next());
    EXPECT_EQ(other.read(0, 1).status, Status::good);
}

TEST_F(ManagementTest, PdusThatHaveNoPlaceHere) {
    EXPECT_EQ(rejected({.opcode = Opcode::snack_request, .immediate = true}), RejectReason::snack);
    EXPECT_EQ(rejected({.opcode = static_cast<Opcode>(0x1C), .immediate = true}),
              RejectReason::command_not_supported);
    EXPECT_EQ(rejected({.opcode = Opcode::nop_in, .immediate = true}),
              RejectReason::command_not_supported);
    EXPECT_EQ(rejected({.opcode = Opcode::login_request, .immediate = true}),
              RejectReason::protocol_error);
    auto reserved = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    reserved.task_tag = no_tag;
    EXPECT_EQ(rejected(reserved), RejectReason::invalid_pdu_field);
    EXPECT_EQ(rejected({.opcode = Opcode::logout_request, .flags = 0x85, .task_tag = 3}),
              RejectReason::invalid_pdu_field);
    expect_alive();
}

TEST_F(ManagementTest, ASegmentThatIsTooLongEndsTheConnection) {
    initiator.send({.task_tag = 5, .data = Bytes((64U << 10) + 1)});
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_NE(initiator.connection.reason().find("MaxRecvDataSegmentLength"), std::string::npos);
}

TEST_F(ManagementTest, AdditionalSegmentsAreReadOrRefused) {
    auto command = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    command.additional = {0, 5, 2, 0, 0, 0, 2, 0};  // a bidirectional read length
    EXPECT_EQ(initiator.run(command).sense, 0x050E03U);
    command = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    command.additional = {0, 0xFF, 1, 0};  // longer than it is
    EXPECT_EQ(initiator.run(command).sense, 0x050E03U);
    EXPECT_TRUE(served.log.says("peer: a command with additional headers"));
    command = initiator.command({0x7F, 0, 0, 0, 0, 0, 0, 24}, Initiator::none, 0);
    command.additional = Bytes(20);
    command.additional[1] = 17;
    command.additional[2] = 1;  // the rest of a 32-byte CDB
    EXPECT_EQ(initiator.run(command).sense, 0x052000U);
    expect_alive();
}

TEST_F(ManagementTest, ImmediateCommandsAreLimited) {
    served.backend().hold = true;
    std::vector<std::uint32_t> tags;
    for (int i = 0; i < 16; ++i) {
        auto read = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
        read.immediate = true;
        tags.push_back(read.task_tag);
        initiator.send(read);
    }
    auto read = initiator.command(Initiator::read10(0, 1), Initiator::reads, 512);
    read.immediate = true;
    EXPECT_EQ(rejected(read), RejectReason::immediate_command);
    served.backend().release_all();
    for (const std::uint32_t tag : tags)
        EXPECT_EQ(initiator.gather(tag).status, Status::good);
    served.backend().hold = false;
    expect_alive();
}

TEST_F(ManagementTest, WhoDoesNotReadIsNotReadFromEither) {
    Bytes wire;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        const Bytes one = initiator.encode({.immediate = true, .task_tag = i, .data = Bytes(100)});
        wire.insert(wire.end(), one.begin(), one.end());
    }
    std::size_t taken = 0;
    while (true) {
        const auto room = initiator.connection.receive_room();
        if (room.empty() || taken == wire.size()) break;
        const std::size_t count = std::min(room[0].size, wire.size() - taken);
        std::copy_n(wire.begin() + static_cast<std::ptrdiff_t>(taken), count, room[0].data);
        taken += count;
        initiator.connection.received(count, initiator.now_ms);
    }
    EXPECT_TRUE(initiator.connection.receive_room().empty());
    initiator.feed(std::span(wire).subspan(taken));
    for (std::uint32_t i = 0; i < 1000; ++i) {
        ASSERT_EQ(initiator.expect_next().task_tag(), i);
    }
    expect_alive();
}

TEST(LoginPhase, OtherPdusEndIt) {
    TestTarget served;
    Initiator initiator(served.target);
    initiator.send(initiator.command(Initiator::read10(0, 1), Initiator::reads, 512));
    initiator.pump();
    EXPECT_TRUE(initiator.connection.finished());
    EXPECT_NE(initiator.connection.reason(), "");
}

}  // namespace
}  // namespace wnbd::iscsi
