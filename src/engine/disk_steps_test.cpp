// SPDX-License-Identifier: LGPL-2.1-or-later
// Commands that take more than one step of user space.
#include <gtest/gtest.h>

#include <vector>

#include "engine/disk.h"
#include "engine/model/disk_fixture.h"

namespace wnbd::engine {
namespace {

using model::block_size;
using model::Command;
using model::Fetched;

using DiskStepsTest = model::DiskFixture;

TEST_F(DiskStepsTest, ForceUnitAccessBecomesAWriteAndAFlush) {
    bring_up();
    Command command(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    EXPECT_EQ(serve(), (std::vector{scsi::Verb::write, scsi::Verb::flush}));
    EXPECT_TRUE(command.succeeded());
    EXPECT_EQ(command.transferred, block_size);
    EXPECT_EQ(server.flushes(), 1u);
    const Counters counters = disk.counters();
    EXPECT_EQ(counters.submitted, 1) << "a request counts once, however many steps it takes";
    EXPECT_EQ(counters.replies, 1);
}

TEST_F(DiskStepsTest, ForceUnitAccessIsHandedOnWhereUserSpaceHasIt) {
    description.fua_supported = true;
    bring_up();
    Command command(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    const Fetched fetched = *fetch();
    EXPECT_TRUE(fetched.step.force_unit_access);
    EXPECT_TRUE(server.answer(disk, fetched));
    EXPECT_TRUE(command.succeeded());
    EXPECT_EQ(server.flushes(), 0u);
}

TEST_F(DiskStepsTest, ARequestBetweenTwoStepsCanBeAborted) {
    bring_up();
    Command command(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    ASSERT_TRUE(server.answer(disk, *fetch()));
    EXPECT_EQ(command.completions, 0u);
    EXPECT_TRUE(reset().finished);
    EXPECT_EQ(command.cause, Cause::aborted);
    EXPECT_EQ(disk.counters().aborted_submitted, 1);
    EXPECT_FALSE(fetch().has_value());
}

TEST_F(DiskStepsTest, VerifyComparesWithTheMedium) {
    bring_up();
    std::fill_n(server.block(7), block_size, 0x33);
    Command same(model::verify_cdb(7, 1), block_size);
    std::fill(same.bytes.begin(), same.bytes.end(), 0x33);
    Command different(model::verify_cdb(7, 1), block_size);
    different.bytes = same.bytes;
    different.buffer = different.bytes.data();
    different.bytes[100] = 0x34;
    ASSERT_EQ(post(same), Disk::Start::pending);
    ASSERT_EQ(post(different), Disk::Start::pending);
    serve();
    EXPECT_TRUE(same.succeeded());
    EXPECT_EQ(different.status, scsi::Status::check_condition);
    EXPECT_EQ(different.key, scsi::SenseKey::miscompare);
    EXPECT_EQ(different.information, 100u);
}

TEST_F(DiskStepsTest, CompareAndWriteRunsAlone) {
    bring_up();
    Command before(model::read_cdb(9, 1), block_size);
    Command atomic(model::compare_and_write_cdb(9, 1), std::size_t{2} * block_size);
    std::fill_n(&atomic.bytes[block_size], block_size, 0x77);
    Command after(model::read_cdb(9, 1), block_size);
    ASSERT_EQ(post(before), Disk::Start::pending);
    ASSERT_EQ(post(atomic), Disk::Start::pending);
    ASSERT_EQ(post(after), Disk::Start::pending);

    const Fetched first = *fetch();
    EXPECT_FALSE(fetch().has_value()) << "it waits for those before it";
    EXPECT_TRUE(server.answer(disk, first));
    const Fetched compare = *fetch();
    EXPECT_EQ(compare.step.verb, scsi::Verb::read);
    EXPECT_FALSE(fetch().has_value()) << "nobody comes while it runs";
    EXPECT_TRUE(server.answer(disk, compare));
    const Fetched write = *fetch();
    EXPECT_EQ(write.step.verb, scsi::Verb::write) << "nobody comes between its steps";
    EXPECT_FALSE(fetch().has_value());
    EXPECT_TRUE(server.answer(disk, write));
    EXPECT_TRUE(atomic.succeeded());
    serve();
    EXPECT_TRUE(after.succeeded());
    EXPECT_EQ(after.bytes[0], 0x77);

    Command again(model::compare_and_write_cdb(9, 1), std::size_t{2} * block_size);
    ASSERT_EQ(post(again), Disk::Start::pending);
    EXPECT_EQ(serve(), std::vector{scsi::Verb::read});
    EXPECT_EQ(again.key, scsi::SenseKey::miscompare);
    EXPECT_EQ(*server.block(9), 0x77);
}

TEST_F(DiskStepsTest, AnAbortedAtomicRequestLetsTheOthersGoOn) {
    bring_up();
    Command atomic(model::compare_and_write_cdb(9, 1), std::size_t{2} * block_size);
    Command next(model::read_cdb(1, 1), block_size);
    for (const bool between_steps : {false, true}) {
        SCOPED_TRACE(between_steps);
        atomic.completions = next.completions = 0;
        ASSERT_EQ(post(atomic), Disk::Start::pending);
        ASSERT_EQ(post(next), Disk::Start::pending);
        const Fetched step = *fetch();
        Waiter waiter;
        Request* request = nullptr;
        if (between_steps) {
            ASSERT_TRUE(server.answer(disk, step));
        } else {
            ASSERT_EQ(disk.take(waiter, request), Disk::Take::empty);
        }
        ASSERT_TRUE(disk.abort(&atomic, {}, wait).finished);
        if (!between_steps) {
            EXPECT_TRUE(platform::native::is_set(waiter.wake));
            disk.withdraw(waiter);
        }
        serve();
        EXPECT_TRUE(next.succeeded());
    }
}

/// Serves as a server in the disk's own process does.
std::vector<scsi::Verb> serve_now(Disk& disk) {
    std::vector<scsi::Verb> steps;
    while (Request* const request = disk.take_now()) {
        steps.push_back(request->step.verb);
        disk.finish_step(*request, scsi::Answer{});
    }
    return steps;
}

TEST_F(DiskStepsTest, AServerInTheProcessGoesFromStepToStep) {
    bring_up();
    Command command(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    EXPECT_EQ(serve_now(disk), (std::vector{scsi::Verb::write, scsi::Verb::flush}));
    EXPECT_TRUE(command.succeeded());
    EXPECT_EQ(command.transferred, block_size);
    const Counters counters = disk.counters();
    EXPECT_EQ(counters.submitted, 1);
    EXPECT_EQ(counters.replies, 1);
    EXPECT_EQ(counters.outstanding(), 0);
}

TEST_F(DiskStepsTest, WhatAServerInTheProcessWorksOnIsOnlyDoomed) {
    bring_up();
    Command command(model::write_cdb(2, 1, true), block_size);
    ASSERT_EQ(post(command), Disk::Start::pending);
    Request* const request = disk.take_now();
    ASSERT_NE(request, nullptr);
    EXPECT_FALSE(reset(&command).finished);
    EXPECT_EQ(command.completions, 0u);
    EXPECT_EQ(disk.begin_reply(request->tag()), nullptr) << "no tag of it is out";
    disk.finish_step(*request, scsi::Answer{});
    EXPECT_EQ(command.completions, 1u);
    EXPECT_EQ(command.cause, Cause::aborted);
    EXPECT_EQ(port.resets_done, std::vector<void*>{&command});
    EXPECT_EQ(disk.take_now(), nullptr) << "no flush follows";
}

TEST_F(DiskStepsTest, AnAtomicRequestKeepsOthersFromAServerInTheProcess) {
    bring_up();
    Command atomic(model::compare_and_write_cdb(9, 1), std::size_t{2} * block_size);
    Command after(model::read_cdb(9, 1), block_size);
    ASSERT_EQ(post(atomic), Disk::Start::pending);
    ASSERT_EQ(post(after), Disk::Start::pending);
    Request* const compare = disk.take_now();
    ASSERT_NE(compare, nullptr);
    EXPECT_EQ(disk.take_now(), nullptr);
    disk.finish_step(*compare, scsi::Answer{});
    EXPECT_EQ(serve_now(disk), (std::vector{scsi::Verb::write, scsi::Verb::read}));
    EXPECT_TRUE(atomic.succeeded());
    EXPECT_TRUE(after.succeeded());
}

}  // namespace
}  // namespace wnbd::engine
