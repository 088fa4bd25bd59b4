// SPDX-License-Identifier: LGPL-2.1-or-later
// Several initiators at one disk that keeps its reservations itself.
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <thread>

#include "engine/model/disk_fixture.h"

namespace wnbd::engine {
namespace {

using model::block_size;

enum Action : std::uint8_t {
    register_key = 0,
    reserve = 1,
    release = 2,
    clear = 3,
    preempt = 4,
    preempt_and_abort = 5,
};
constexpr std::uint8_t write_exclusive = 1;
constexpr std::uint8_t registrants_only = 6;

constexpr scsi::Nexus one = 0;
constexpr scsi::Nexus two = 17;
constexpr scsi::Nexus three = 255;

struct DiskReservationsTest : model::DiskFixture {
    struct Sent : model::Command {
        using model::Command::Command;
        Disk::Start start = Disk::Start::answered;
        [[nodiscard]] bool conflicted() const {
            return start == Disk::Start::answered && status == scsi::Status::reservation_conflict;
        }
        [[nodiscard]] std::uint32_t told() const {
            return key == scsi::SenseKey::unit_attention ? additional : 0;
        }
    };

    /// A command stays for as long as the disk may have it. From any thread.
    Sent* keep_alive(std::unique_ptr<Sent> sent) {
        const std::lock_guard guard(kept_mutex);
        kept.push_back(std::move(sent));
        return kept.back().get();
    }
    std::mutex kept_mutex;
    std::vector<std::unique_ptr<Sent>> kept;

    Sent* send(scsi::Nexus nexus, const model::Cdb& cdb, std::uint8_t cdb_length,
               const std::vector<std::uint8_t>& data) {
        Sent* const sent = keep_alive(std::make_unique<Sent>(cdb, data.size()));
        sent->bytes = data;
        sent->buffer = sent->bytes.data();
        sent->cdb_length = cdb_length;
        scsi::Command command = sent->command();
        command.nexus = nexus;
        scsi::Answer answer;
        sent->start = disk.start(static_cast<model::Srb*>(sent), command, answer);
        if (sent->start == Disk::Start::answered) sent->keep(answer);
        return sent;
    }
    Sent* write(scsi::Nexus nexus) {
        return send(nexus, model::write_cdb(3, 1), 16, std::vector<std::uint8_t>(block_size));
    }
    Sent* read(scsi::Nexus nexus) {
        return send(nexus, model::read_cdb(3, 1), 16, std::vector<std::uint8_t>(block_size));
    }
    Sent* ready(scsi::Nexus nexus) { return send(nexus, model::test_unit_ready_cdb(), 6, {}); }
    scsi::Status out(scsi::Nexus nexus, Action action, std::uint8_t type, std::uint64_t key,
                     std::uint64_t action_key = 0) {
        std::vector<std::uint8_t> list(24);
        store_big_endian(&list[0], key);
        store_big_endian(&list[8], action_key);
        return send(nexus, {0x5F, action, type, 0, 0, 0, 0, 0, 24}, 10, list)->status;
    }
    void join(scsi::Nexus nexus, std::uint64_t key) {
        ASSERT_EQ(out(nexus, register_key, 0, 0, key), scsi::Status::good);
    }
    std::vector<std::uint8_t> keys() {
        Sent* const sent =
            send(one, {0x5E, 0, 0, 0, 0, 0, 0, 0, 64}, 10, std::vector<std::uint8_t>(64));
        sent->bytes.resize(sent->transferred);
        return sent->bytes;
    }
};

TEST_F(DiskReservationsTest, AreKeptForDisksWhoseStorageKeepsNone) {
    bring_up();
    join(one, 0x11);
    EXPECT_EQ(keys(),
              (std::vector<std::uint8_t>{0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0x11}));
    EXPECT_EQ(out(one, reserve, write_exclusive, 0x11), scsi::Status::good);
    EXPECT_TRUE(write(two)->conflicted());
    EXPECT_EQ(read(two)->start, Disk::Start::pending);
    EXPECT_EQ(write(one)->start, Disk::Start::pending);
    EXPECT_EQ(disk.counters().received, 2) << "a conflict never was a request";
    EXPECT_TRUE(reset().finished);
    EXPECT_TRUE(write(two)->conflicted()) << "a reset ends no persistent reservation";
}

TEST_F(DiskReservationsTest, ArePassedOnWhereTheStorageKeepsThem) {
    description.persistent_reservations_supported = true;
    bring_up();
    std::vector<std::uint8_t> list(24);
    Sent* const sent = send(one, {0x5F, 0, 0, 0, 0, 0, 0, 0, 24}, 10, list);
    EXPECT_EQ(sent->start, Disk::Start::pending);
    EXPECT_EQ(serve(), std::vector{scsi::Verb::persistent_reserve_out});
    EXPECT_TRUE(sent->succeeded());
    EXPECT_FALSE(disk.registered(one));
}

TEST_F(DiskReservationsTest, AConflictGoesBeforeAnyOtherRefusal) {
    bring_up();
    join(one, 1);
    ASSERT_EQ(out(one, reserve, write_exclusive, 1), scsi::Status::good);
    EXPECT_TRUE(send(two, model::write_cdb(model::block_count, 1), 16,
                     std::vector<std::uint8_t>(block_size))
                    ->conflicted());
    EXPECT_EQ(send(two, {0xEE}, 16, {})->status, scsi::Status::check_condition)
        << "what does not exist cannot conflict";
}

TEST_F(DiskReservationsTest, EachInitiatorIsToldOnceAndNobodyElse) {
    bring_up();
    join(one, 1);
    join(two, 2);
    join(three, 3);
    ASSERT_EQ(out(one, reserve, registrants_only, 1), scsi::Status::good);
    ASSERT_EQ(out(one, release, registrants_only, 1), scsi::Status::good);
    EXPECT_EQ(ready(one)->told(), 0u);
    EXPECT_EQ(ready(two)->told(), 0x2A04u);
    EXPECT_EQ(ready(two)->told(), 0u);
    // The third has been asked nothing yet; more comes on top, one command tells one thing.
    ASSERT_EQ(out(two, preempt, write_exclusive, 2, 3), scsi::Status::good);
    ASSERT_EQ(out(two, clear, 0, 2), scsi::Status::good);
    disk.resize(2 * model::block_count);
    EXPECT_EQ(send(three, model::inquiry_cdb(), 6, std::vector<std::uint8_t>(36))->status,
              scsi::Status::good);
    EXPECT_EQ(ready(three)->told(), 0x2A04u);
    EXPECT_EQ(ready(three)->told(), 0x2A05u);
    EXPECT_EQ(ready(three)->told(), 0x2A09u);
    EXPECT_EQ(ready(three)->told(), 0u);
    EXPECT_EQ(ready(one)->told(), 0x2A03u);
    EXPECT_EQ(ready(one)->told(), 0x2A09u);
    EXPECT_EQ(ready(two)->told(), 0x2A09u);
    EXPECT_EQ(ready(two)->told(), 0u);
}

TEST_F(DiskReservationsTest, PreemptAndAbortEndsTheCommandsOfThePreemptedAlone) {
    bring_up(8);
    join(one, 1);
    join(two, 2);
    Sent* const own = write(one);
    Sent* const handed_out = write(two);
    ASSERT_TRUE(fetch().has_value());
    const auto seen = fetch();
    ASSERT_TRUE(seen.has_value());
    Sent* const waiting = write(two);
    Sent* const strangers = read(three);
    ASSERT_EQ(out(one, preempt_and_abort, write_exclusive, 1, 2), scsi::Status::good);
    for (const Sent* const ended : {handed_out, waiting}) {
        EXPECT_EQ(ended->completions, 1u);
        EXPECT_EQ(ended->cause, Cause::aborted);
    }
    EXPECT_FALSE(server.answer(disk, *seen)) << "a late reply finds nothing";
    EXPECT_EQ(own->completions, 0u);
    EXPECT_EQ(strangers->completions, 0u);
    EXPECT_EQ(write(two)->told(), 0x2A05u);
    EXPECT_EQ(write(two)->start, Disk::Start::pending) << "nobody holds anything";
    EXPECT_TRUE(reset().finished);
}

TEST_F(DiskReservationsTest, ARequestUnderCopyEndsWithItsCopyWhenItsInitiatorIsPreempted) {
    bring_up();
    join(one, 1);
    join(two, 2);
    Sent* const sent = write(two);
    Request* const request = take();
    ASSERT_NE(request, nullptr);
    ASSERT_EQ(out(one, preempt_and_abort, write_exclusive, 1, 2), scsi::Status::good);
    EXPECT_EQ(sent->completions, 0u);
    disk.publish(*request);
    EXPECT_EQ(sent->completions, 1u);
    EXPECT_EQ(sent->cause, Cause::aborted);
    EXPECT_TRUE(reset().finished) << "nothing is left of it";
}

TEST_F(DiskReservationsTest, PlainOnesEndWithResetsAndWithTheirNexus) {
    bring_up();
    const auto reserve_plainly = [&](scsi::Nexus nexus) {
        return send(nexus, {0x16}, 6, {})->status == scsi::Status::good;
    };
    EXPECT_TRUE(reserve_plainly(one));
    EXPECT_FALSE(reserve_plainly(two));
    EXPECT_TRUE(ready(two)->conflicted());
    EXPECT_TRUE(read(two)->conflicted());
    EXPECT_TRUE(reset().finished);
    EXPECT_TRUE(reserve_plainly(two));
    disk.lose_nexus(one);
    EXPECT_FALSE(reserve_plainly(one));
    Sent* const busy = read(two);
    EXPECT_TRUE(disk.abort(static_cast<model::Srb*>(busy), {}, wait).finished);
    EXPECT_FALSE(reserve_plainly(one)) << "an abort is no reset";
    disk.lose_nexus(two);
    EXPECT_TRUE(reserve_plainly(one));
}

TEST_F(DiskReservationsTest, ALostNexusKeepsItsRegistrationAndForgetsItsNews) {
    bring_up();
    join(one, 1);
    join(two, 2);
    ASSERT_EQ(out(two, reserve, registrants_only, 2), scsi::Status::good);
    ASSERT_EQ(out(two, release, registrants_only, 2), scsi::Status::good);
    disk.lose_nexus(one);
    EXPECT_TRUE(disk.registered(one));
    EXPECT_EQ(ready(one)->told(), 0u);
}

TEST_F(DiskReservationsTest, EndWithTheirDisk) {
    bring_up();
    join(one, 1);
    join(two, 2);
    ASSERT_EQ(out(one, reserve, write_exclusive, 1), scsi::Status::good);
    ASSERT_EQ(out(one, preempt, write_exclusive, 1, 2), scsi::Status::good);
    ASSERT_TRUE(disk.begin_removal());
    disk.await_idle();
    disk.finish_removal();
    bring_up();
    EXPECT_FALSE(disk.registered(one));
    EXPECT_EQ(keys(), (std::vector<std::uint8_t>(8)));
    Sent* const sent = write(two);
    EXPECT_EQ(sent->start, Disk::Start::pending) << "nor is anybody told of the last one";
    EXPECT_TRUE(reset().finished);
}

TEST_F(DiskReservationsTest, ReadOnlyDisksHaveThemToo) {
    description.read_only = true;
    bring_up();
    join(one, 1);
    EXPECT_EQ(out(one, reserve, registrants_only, 1), scsi::Status::good);
    EXPECT_TRUE(read(two)->conflicted());
}

// What fencing is for: once PREEMPT AND ABORT has been answered, no write of the preempted
// initiator's is in the disk or gets in any more, however the threads meet.
TEST_F(DiskReservationsTest, NothingOfAPreemptedInitiatorGetsInAfterwards) {
    bring_up(256);
    join(one, 1);
    ASSERT_EQ(out(one, reserve, registrants_only, 1), scsi::Status::good);
    for (int round = 0; round < 200; ++round) {
        ASSERT_NO_FATAL_FAILURE(join(two, 2));
        std::vector<Sent*> sent;
        std::atomic<bool> begun{false};
        std::atomic<bool> fenced{false};
        std::thread writer([&] {
            while (sent.size() < 200 && !(fenced && sent.size() > 20)) {
                sent.push_back(write(two));
                begun = true;
            }
        });
        while (!begun)
            std::this_thread::yield();
        EXPECT_EQ(out(one, preempt_and_abort, registrants_only, 1, 2), scsi::Status::good);
        EXPECT_FALSE(disk.has_outstanding());
        fenced = true;
        writer.join();
        EXPECT_FALSE(disk.has_outstanding());
        for (const Sent* const command : sent) {
            const bool aborted = command->completions == 1 && command->cause == Cause::aborted;
            EXPECT_TRUE(aborted || command->conflicted() || command->told() == 0x2A05);
        }
        (void)ready(two);
    }
}

}  // namespace
}  // namespace wnbd::engine
