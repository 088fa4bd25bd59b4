// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/disk.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "engine/model/disk_fixture.h"

namespace wnbd::engine {
namespace {

using model::block_count;
using model::block_size;
using model::Command;
using model::Fetched;
using model::MemoryServer;
using platform::native::advance_time_ms;

using DiskTest = model::DiskFixture;

TEST_F(DiskTest, WithoutMemoryForItsTableItDoesNotStart) {
    platform::native::fail_allocations_after(0);
    EXPECT_FALSE(disk.prepare(1, description, block_count, 4));
    platform::native::restore_allocations();
    EXPECT_EQ(disk.state(), DiskState::gone);
    EXPECT_FALSE(disk.acquire());
    bring_up();
    EXPECT_TRUE(disk.acquire());
    disk.release();
}

TEST_F(DiskTest, NoMemoryIsAllocatedForARequest) {
    bring_up();
    const auto before = platform::native::allocations_made();
    for (int i = 0; i < 100; ++i) {
        Command write(model::write_cdb(1, 1, true), block_size);
        ASSERT_EQ(post(write), Disk::Start::pending);
        serve();
        ASSERT_TRUE(write.succeeded());
    }
    EXPECT_EQ(platform::native::allocations_made(), before);
}

TEST_F(DiskTest, WhatIsWrittenIsRead) {
    bring_up();
    Command write(model::write_cdb(3, 2), std::size_t{2} * block_size);
    std::iota(write.bytes.begin(), write.bytes.end(), std::uint8_t{0});
    Command read(model::read_cdb(3, 2), std::size_t{2} * block_size);
    EXPECT_EQ(post(write), Disk::Start::pending);
    serve();
    EXPECT_EQ(post(read), Disk::Start::pending);
    serve();
    EXPECT_TRUE(write.succeeded());
    EXPECT_TRUE(read.succeeded());
    EXPECT_EQ(read.bytes, write.bytes);
    EXPECT_EQ(read.transferred, read.bytes.size());
}

TEST_F(DiskTest, CommandsThatNeedNoBlocksAreAnsweredAtOnce) {
    bring_up();
    Command ready(model::test_unit_ready_cdb());
    ready.cdb_length = 6;
    EXPECT_EQ(post(ready), Disk::Start::answered);
    EXPECT_EQ(ready.status, scsi::Status::good);
    Command beyond(model::read_cdb(block_count, 1), block_size);
    EXPECT_EQ(post(beyond), Disk::Start::answered);
    EXPECT_EQ(beyond.status, scsi::Status::check_condition);
    EXPECT_EQ(beyond.additional, 0x2100);
    EXPECT_EQ(disk.counters().received, 0);
    EXPECT_FALSE(disk.has_outstanding());
}

TEST_F(DiskTest, AFullTableRefusesUntilASlotIsFree) {
    bring_up(2);
    Command one(model::read_cdb(0, 1), block_size);
    Command two(model::read_cdb(1, 1), block_size);
    Command three(model::read_cdb(2, 1), block_size);
    EXPECT_EQ(post(one), Disk::Start::pending);
    EXPECT_EQ(post(two), Disk::Start::pending);
    EXPECT_EQ(post(three), Disk::Start::full);
    EXPECT_TRUE(server.answer(disk, *fetch()));
    EXPECT_EQ(post(three), Disk::Start::pending);
    serve();
    EXPECT_TRUE(one.succeeded() && two.succeeded() && three.succeeded());
    EXPECT_EQ(disk.counters().received, 3) << "a command that was refused is not counted";
}

TEST_F(DiskTest, ATagIsGoodForOneReply) {
    bring_up();
    Command first(model::read_cdb(0, 1), block_size);
    ASSERT_EQ(post(first), Disk::Start::pending);
    const Fetched fetched = *fetch();
    EXPECT_NE(fetched.tag, 0u);
    EXPECT_EQ(disk.begin_reply(fetched.tag + (Tag{1} << 16)), nullptr) << "a coming generation";
    EXPECT_EQ(disk.begin_reply(fetched.tag + 1), nullptr) << "another slot";
    EXPECT_EQ(disk.begin_reply(fetched.tag + 4), nullptr) << "a slot there is not";
    EXPECT_EQ(disk.begin_reply(0), nullptr);
    EXPECT_TRUE(server.answer(disk, fetched));
    EXPECT_FALSE(server.answer(disk, fetched));
    EXPECT_EQ(disk.counters().late_replies, 0) << "none of them was ever aborted";

    Command second(model::read_cdb(0, 1), block_size);  // most likely in the same slot
    ASSERT_EQ(post(second), Disk::Start::pending);
    const Fetched next = *fetch();
    EXPECT_FALSE(server.answer(disk, fetched));
    EXPECT_EQ(second.completions, 0u);
    EXPECT_TRUE(server.answer(disk, next));
    EXPECT_TRUE(second.succeeded());
}

TEST_F(DiskTest, AnAbortEndsOneRequestAndAReplyToItComesTooLate) {
    bring_up();
    Command victim(model::read_cdb(0, 1), block_size);
    Command other(model::read_cdb(1, 1), block_size);
    ASSERT_EQ(post(victim), Disk::Start::pending);
    ASSERT_EQ(post(other), Disk::Start::pending);
    const Fetched of_victim = *fetch();
    const Disk::Drain drained = disk.abort(&victim, {}, wait);
    EXPECT_TRUE(drained.finished);
    EXPECT_FALSE(drained.stale);
    EXPECT_EQ(victim.completions, 1u);
    EXPECT_EQ(victim.cause, Cause::aborted);
    EXPECT_EQ(other.completions, 0u);
    EXPECT_FALSE(server.answer(disk, of_victim));
    serve();
    EXPECT_TRUE(other.succeeded());
    const Counters counters = disk.counters();
    EXPECT_EQ(counters.aborted_submitted, 1);
    EXPECT_EQ(counters.late_replies, 1);
    EXPECT_EQ(counters.replies, 1);

    Command unknown(model::read_cdb(0, 1), block_size);
    EXPECT_TRUE(disk.abort(&unknown, {}, wait).finished) << "what is not here is not waited for";
}

TEST_F(DiskTest, AResetWaitsForTheCopiesUnderWay) {
    bring_up();
    Command pending(model::read_cdb(0, 1), block_size);
    Command fetching(model::read_cdb(1, 1), block_size);
    Command submitted(model::read_cdb(2, 1), block_size);
    Command replying(model::read_cdb(3, 1), block_size);
    ASSERT_EQ(post(replying), Disk::Start::pending);
    const Fetched to_reply = *fetch();
    ASSERT_EQ(post(submitted), Disk::Start::pending);
    const Fetched in_user_space = *fetch();
    ASSERT_EQ(post(fetching), Disk::Start::pending);
    Request* const copying = take();
    ASSERT_EQ(post(pending), Disk::Start::pending);
    Request* const reply = disk.begin_reply(to_reply.tag);
    ASSERT_NE(reply, nullptr);

    int reset_srb = 0;
    EXPECT_FALSE(reset(&reset_srb).finished);
    EXPECT_EQ(pending.cause, Cause::aborted);
    EXPECT_EQ(pending.completions, 1u);
    EXPECT_EQ(submitted.completions, 1u);
    EXPECT_EQ(fetching.completions + replying.completions, 0u);
    EXPECT_TRUE(disk.has_outstanding());

    disk.publish(*copying);
    EXPECT_EQ(fetching.completions, 1u);
    EXPECT_EQ(fetching.cause, Cause::aborted);
    EXPECT_TRUE(port.resets_done.empty());
    disk.finish_reply(*reply, {}, std::vector<std::uint8_t>(block_size));
    EXPECT_EQ(replying.completions, 1u);
    EXPECT_EQ(replying.cause, Cause::aborted);
    ASSERT_EQ(port.resets_done.size(), 1u);
    EXPECT_EQ(port.resets_done[0], &reset_srb);

    EXPECT_FALSE(server.answer(disk, in_user_space));
    EXPECT_FALSE(disk.has_outstanding());
    const Counters counters = disk.counters();
    EXPECT_EQ(counters.aborted_unsubmitted, 2);
    EXPECT_EQ(counters.aborted_submitted, 2);
}

TEST_F(DiskTest, EachResetThatWaitsIsToldOnce) {
    bring_up();
    Command command(model::read_cdb(0, 1), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    Request* const copying = take();
    int first = 0;
    int second = 0;
    ResetWait another;
    another.srb = &second;
    EXPECT_FALSE(reset(&first).finished);
    EXPECT_FALSE(disk.drain(Cause::bus_reset, {}, another).finished);
    disk.publish(*copying);
    EXPECT_EQ(command.cause, Cause::aborted) << "the first to come names the cause";
    ASSERT_EQ(port.resets_done.size(), 2u);
    EXPECT_NE(port.resets_done[0], port.resets_done[1]);
}

TEST_F(DiskTest, ARemovalEndsEverythingAndIsBegunOnce) {
    bring_up();
    Command pending(model::read_cdb(0, 1), block_size);
    Command copied(model::write_cdb(1, 1), block_size);
    ASSERT_EQ(post(copied), Disk::Start::pending);
    ASSERT_TRUE(disk.acquire());
    Request* const copying = take();
    ASSERT_EQ(post(pending), Disk::Start::pending);
    EXPECT_TRUE(disk.begin_removal());
    EXPECT_FALSE(disk.begin_removal());
    EXPECT_EQ(pending.cause, Cause::removed);
    EXPECT_EQ(copied.completions, 0u);
    EXPECT_FALSE(disk.acquire());
    Command late(model::read_cdb(0, 1), block_size);
    EXPECT_EQ(post(late), Disk::Start::no_device);
    scsi::Answer answer;
    EXPECT_EQ(disk.flush(&late, answer), Disk::Start::no_device);
    Waiter waiter;
    Request* request = nullptr;
    EXPECT_EQ(disk.take(waiter, request), Disk::Take::disconnected);
    disk.publish(*copying);
    EXPECT_EQ(copied.cause, Cause::removed);
    disk.release();
    disk.await_idle();
    disk.finish_removal();
    EXPECT_EQ(disk.state(), DiskState::gone);
    EXPECT_EQ(late.completions, 0u);
}

TEST_F(DiskTest, ARemovalWaitsForReferencesAndWakesFetchers) {
    bring_up();
    std::vector<std::thread> fetchers;
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(disk.acquire());
        fetchers.emplace_back([this] {
            Waiter waiter;
            Request* request = nullptr;
            while (disk.take(waiter, request) == Disk::Take::empty)
                EXPECT_EQ(platform::wait(waiter.wake, true), platform::WaitResult::signalled);
            EXPECT_TRUE(disk.removing());
            disk.release();
        });
    }
    while (platform::native::threads_waiting() < 3)
        std::this_thread::yield();
    EXPECT_TRUE(disk.begin_removal());
    disk.await_idle();
    for (auto& fetcher : fetchers)
        fetcher.join();
    disk.finish_removal();
}

TEST_F(DiskTest, AnAlertedFetcherHandsItsWakeUpOn) {
    bring_up();
    Waiter first;
    Waiter second;
    Request* request = nullptr;
    ASSERT_EQ(disk.take(second, request), Disk::Take::empty);
    ASSERT_EQ(disk.take(first, request), Disk::Take::empty);
    Command command(model::read_cdb(0, 1), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    EXPECT_TRUE(platform::native::is_set(first.wake)) << "the last to come is woken";
    EXPECT_FALSE(platform::native::is_set(second.wake));
    disk.withdraw(first);
    EXPECT_TRUE(platform::native::is_set(second.wake));
    platform::wait(second.wake, false);
    ASSERT_EQ(disk.take(second, request), Disk::Take::request);
    EXPECT_TRUE(server.answer(disk, MemoryServer::fetch(disk, *request)));
    EXPECT_TRUE(command.succeeded());
}

TEST_F(DiskTest, ARequestHandedBackGoesOutFirstAndUnderANewTag) {
    bring_up();
    Command first(model::read_cdb(0, 1), block_size);
    Command second(model::read_cdb(1, 1), block_size);
    ASSERT_EQ(post(first), Disk::Start::pending);
    ASSERT_EQ(post(second), Disk::Start::pending);
    Request* const taken = take();
    const Tag tag = taken->tag();
    disk.return_unfetched(*taken);
    EXPECT_EQ(disk.counters().submitted, 0);
    const Fetched again = *fetch();
    EXPECT_EQ(again.step.lba, 0u);
    EXPECT_NE(again.tag, tag);
    EXPECT_TRUE(server.answer(disk, again));
    serve();
    EXPECT_TRUE(first.succeeded() && second.succeeded());
}

TEST_F(DiskTest, ARejectedRequestFailsAndIsCounted) {
    bring_up();
    Command command(model::write_cdb(0, 1), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    disk.reject(*take());
    EXPECT_EQ(command.cause, Cause::failed);
    EXPECT_EQ(disk.counters().rejected, 1);
    EXPECT_EQ(disk.counters().outstanding(), 0);
}

TEST_F(DiskTest, AnErrorReplyKeepsItsSense) {
    bring_up();
    Command command(model::read_cdb(5, 1), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    Request* const request = disk.begin_reply(fetch()->tag);
    ASSERT_NE(request, nullptr);
    scsi::Answer error =
        scsi::refuse(scsi::SenseKey::medium_error, scsi::AdditionalSense::unrecovered_read_error);
    error.sense.information_valid = true;
    error.sense.information = 5;
    disk.finish_reply(*request, error, {});
    EXPECT_EQ(command.cause, Cause::answered);
    EXPECT_EQ(command.status, scsi::Status::check_condition);
    EXPECT_EQ(command.key, scsi::SenseKey::medium_error);
    EXPECT_EQ(command.additional, 0x1100);
    EXPECT_EQ(command.information, 5u);
    EXPECT_EQ(command.transferred, 0u);
}

TEST_F(DiskTest, AShortReplyIsFilledUpWithZeroes) {
    bring_up();
    Command command(model::read_cdb(0, 1), block_size);
    std::fill(command.bytes.begin(), command.bytes.end(), 0xEE);
    ASSERT_EQ(post(command), Disk::Start::pending);
    Request* const request = disk.begin_reply(fetch()->tag);
    ASSERT_NE(request, nullptr);
    disk.finish_reply(*request, {}, std::vector<std::uint8_t>(10, 0x11));
    EXPECT_TRUE(command.succeeded());
    std::vector<std::uint8_t> expected(block_size);
    std::fill_n(expected.begin(), 10, 0x11);
    EXPECT_EQ(command.bytes, expected);
}

TEST_F(DiskTest, FlushOfTheSystemIsQueuedOnlyWhereThereIsACache) {
    bring_up();
    Command flush(model::test_unit_ready_cdb());
    scsi::Answer answer;
    ASSERT_EQ(disk.flush(&flush, answer), Disk::Start::pending);
    EXPECT_EQ(serve(), std::vector{scsi::Verb::flush});
    EXPECT_TRUE(flush.succeeded());
    ASSERT_TRUE(disk.begin_removal());
    disk.await_idle();
    disk.finish_removal();
    description.flush_supported = false;
    bring_up();
    EXPECT_EQ(disk.flush(&flush, answer), Disk::Start::answered);
    EXPECT_EQ(answer.status, scsi::Status::good);
}

TEST_F(DiskTest, ANewSizeIsAUnitAttentionOnce) {
    bring_up();
    Command beyond(model::read_cdb(block_count, 1), block_size);
    disk.resize(2 * block_count);
    Command inquiry(model::inquiry_cdb(), 36);
    inquiry.cdb_length = 6;
    EXPECT_EQ(post(inquiry), Disk::Start::answered);
    EXPECT_EQ(inquiry.status, scsi::Status::good) << "INQUIRY runs all the same";
    EXPECT_EQ(post(beyond), Disk::Start::answered);
    EXPECT_EQ(beyond.key, scsi::SenseKey::unit_attention);
    EXPECT_EQ(beyond.additional, 0x2A09);
    EXPECT_EQ(post(beyond), Disk::Start::pending);
    EXPECT_EQ(disk.block_count(), 2 * block_count);
    EXPECT_TRUE(reset().finished);
}

TEST_F(DiskTest, CountersAddUpWhateverHappens) {
    bring_up(8);
    std::vector<std::unique_ptr<Command>> commands;
    const auto add_up = [&] {
        const Counters c = disk.counters();
        EXPECT_EQ(c.received, c.submitted + c.unsubmitted + c.rejected + c.aborted_unsubmitted);
        EXPECT_EQ(c.submitted, c.replies + c.pending_submitted + c.aborted_submitted);
        std::int64_t open = 0;
        for (const auto& command : commands)
            open += command->completions == 0 ? 1 : 0;
        EXPECT_EQ(c.outstanding(), open);
    };
    const auto post_one = [&] {
        commands.push_back(std::make_unique<Command>(model::write_cdb(1, 1, true), block_size));
        ASSERT_EQ(post(*commands.back()), Disk::Start::pending);
        add_up();
    };
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 8; ++i)
            post_one();
        disk.reject(*take());
        add_up();
        disk.return_unfetched(*take());
        add_up();
        const Fetched first = *fetch();
        const Fetched second = *fetch();
        add_up();
        EXPECT_TRUE(server.answer(disk, first));
        add_up();
        disk.fail_reply(*disk.begin_reply(second.tag));
        add_up();
        Request* const copying = take();
        ResetWait each;
        int reset_srb = 0;
        each.srb = &reset_srb;
        EXPECT_FALSE(disk.drain(Cause::bus_reset, {}, each).finished);
        add_up();
        disk.return_unfetched(*copying);
        add_up();
        EXPECT_FALSE(disk.has_outstanding());
    }
    const Counters c = disk.counters();
    EXPECT_EQ(c.received, 24);
    EXPECT_EQ(c.rejected, 3);
    EXPECT_EQ(port.resets_done.size(), 3u);
}

TEST_F(DiskTest, TimesAreOfTheLastEventOfTheirKind) {
    bring_up();
    EXPECT_EQ(disk.counters().last_received_at, 0u);
    Command command(model::read_cdb(0, 1), block_size);
    const std::uint64_t start = platform::interrupt_time();
    ASSERT_EQ(post(command), Disk::Start::pending);
    advance_time_ms(1);
    const Fetched fetched = *fetch();
    advance_time_ms(1);
    EXPECT_TRUE(server.answer(disk, fetched));
    const Counters c = disk.counters();
    EXPECT_EQ(c.last_received_at, start);
    EXPECT_EQ(c.last_submitted_at, start + 10'000);
    EXPECT_EQ(c.last_reply_at, start + 20'000);
}

}  // namespace
}  // namespace wnbd::engine
