// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/logical_unit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/logical_unit_fixture.h"

namespace wnbd::iscsi::test {
namespace {

TEST_F(LogicalUnitTest, ReadsAndWritesMoveStraightBetweenTaskAndBackend) {
    open();
    Command write(write16(7, 3), 3 * block());
    std::iota(write.buffer.begin(), write.buffer.end(), std::uint8_t{1});
    run(write);
    EXPECT_EQ(write.cause, Cause::answered);
    EXPECT_EQ(write.answer.status, Status::good);
    EXPECT_EQ(write.answer.transferred, 3 * block());
    Command read(read16(7, 3), 3 * block());
    run(read);
    EXPECT_EQ(read.buffer, write.buffer);
    ASSERT_EQ(backend.seen.size(), 2U);
    EXPECT_EQ(backend.seen[0].buffer, write.buffer.data());
    EXPECT_EQ(backend.seen[1].buffer, read.buffer.data());
    EXPECT_EQ(backend.seen[1].offset, 7 * block());
}

TEST_F(LogicalUnitTest, CountersAddUp) {
    open();
    fill(0, 1, 1);
    backend.fail = backend::Error::io;
    Command read(read16(0, 1), block());
    run(read);
    const auto counters = unit->counters();
    EXPECT_EQ(counters.received, 2);
    EXPECT_EQ(counters.submitted, 2);
    EXPECT_EQ(counters.replies, 2);
    EXPECT_EQ(counters.outstanding(), 0);
}

TEST_F(LogicalUnitTest, LargeTransfersAreCutToWhatTheBackendTakes) {
    backend.can.maximum_payload = 100'000;
    open();
    const std::uint32_t blocks = (3U << 20) / 512;
    Command write(write16(0, blocks), 3U << 20);
    for (std::size_t i = 0; i < write.buffer.size(); ++i)
        write.buffer[i] = static_cast<std::uint8_t>(i / 1000);
    run(write);
    EXPECT_EQ(read(0, blocks), write.buffer);
    for (const auto& piece : backend.seen) {
        EXPECT_LE(piece.length, 100'000U);
        EXPECT_EQ(piece.length % 512, 0U);
    }
}

TEST_F(LogicalUnitTest, ForceUnitAccessIsPassedOnOrMadeOfAFlush) {
    open();
    Command write(write16(0, 1, 0x08), block());
    run(write);
    ASSERT_EQ(backend.seen.size(), 1U);
    EXPECT_TRUE(backend.seen[0].force_unit_access);

    owned_ = std::make_unique<TestBackend>(disk_size);
    TestBackend& plain = *owned_;
    plain.can.can_fua = false;
    unit.reset();
    open();
    Command again(write16(0, 1, 0x08), block());
    start(again);
    EXPECT_EQ(again.answer.status, Status::good);
    ASSERT_EQ(plain.seen.size(), 2U);
    EXPECT_FALSE(plain.seen[0].force_unit_access);
    EXPECT_EQ(plain.seen[1].operation, Operation::flush);
}

TEST_F(LogicalUnitTest, VerifyComparesAcrossPieces) {
    open();
    const std::uint32_t blocks = (1U << 20) / 512;
    fill(0, blocks, 0x5A);
    Command same(verify16(0, blocks, 0x02), 1U << 20);
    std::fill(same.buffer.begin(), same.buffer.end(), 0x5A);
    run(same);
    EXPECT_EQ(same.answer.status, Status::good);
    Command different(verify16(0, blocks, 0x02), 1U << 20);
    std::fill(different.buffer.begin(), different.buffer.end(), 0x5A);
    different.buffer[600'001] = 0;
    run(different);
    EXPECT_EQ(different.answer.sense.key, SenseKey::miscompare);
    EXPECT_EQ(different.answer.sense.information, 600'001U);
    Command one_block(verify16(0, blocks, 0x06), block());
    std::fill(one_block.buffer.begin(), one_block.buffer.end(), 0x5A);
    run(one_block);
    EXPECT_EQ(one_block.answer.status, Status::good);
    one_block.completions = 0;
    one_block.buffer[3] = 0;
    run(one_block);
    EXPECT_EQ(one_block.answer.sense.information, 3U);
}

TEST_F(LogicalUnitTest, CompareAndWriteWritesOnlyWhatCompares) {
    open();
    fill(5, 2, 0x11);
    Command swap(compare_and_write(5, 2), 4 * block());
    std::fill_n(swap.buffer.begin(), 2 * block(), 0x11);
    std::fill_n(swap.buffer.begin() + static_cast<std::ptrdiff_t>(2 * block()), 2 * block(), 0x22);
    run(swap);
    EXPECT_EQ(swap.answer.status, Status::good);
    EXPECT_EQ(read(5, 1)[0], 0x22);
    Command late(compare_and_write(5, 2), 4 * block());
    late.buffer = swap.buffer;
    late.data = late.buffer;
    run(late);
    EXPECT_EQ(late.answer.sense.key, SenseKey::miscompare);
    EXPECT_EQ(read(6, 1)[0], 0x22);
}

TEST_F(LogicalUnitTest, OrWriteAddsToWhatIsThere) {
    open();
    const std::uint32_t blocks = (1U << 20) / 512;
    fill(1, blocks, 0x81);
    Command combine(cdb16(0x8B, 1, blocks), 1U << 20);
    for (std::size_t i = 0; i < combine.buffer.size(); ++i)
        combine.buffer[i] = static_cast<std::uint8_t>(i / 1021);
    const auto sent = combine.buffer;
    run(combine);
    EXPECT_EQ(combine.answer.status, Status::good);
    const auto back = read(1, blocks);
    for (std::size_t i = 0; i < sent.size(); ++i)
        ASSERT_EQ(back[i], sent[i] | 0x81) << i;
    EXPECT_EQ(read(0, 1)[0], 0);
}

TEST_F(LogicalUnitTest, WritesEndWhereTheInitiatorsOfferEnds) {
    open();
    fill(0, 3, 0x11);
    Command write(write16(0, 3), 2 * block() + 100);
    std::fill(write.buffer.begin(), write.buffer.end(), 0x22);
    run(write);
    EXPECT_EQ(write.answer.status, Status::good);
    EXPECT_EQ(read(1, 1)[511], 0x22);
    EXPECT_EQ(read(2, 1)[0], 0x11);
    Command swap(compare_and_write(0, 1), 2 * block());
    swap.offered = static_cast<std::uint32_t>(3 * block());
    run(swap);
    EXPECT_EQ(swap.asc(), 0x2400) << "more was offered than the CDB knows of";
}

TEST_F(LogicalUnitTest, WriteSameRepeatsItsBlock) {
    backend.can.maximum_payload = 300'000;
    open();
    const std::uint32_t blocks = (1U << 20) / 512 + 3;
    Command same(cdb16(0x93, 1, blocks), block());
    std::iota(same.buffer.begin(), same.buffer.end(), std::uint8_t{9});
    run(same);
    EXPECT_EQ(same.answer.status, Status::good);
    const auto back = read(1, blocks);
    for (std::uint32_t i = 0; i < blocks; ++i)
        ASSERT_TRUE(std::equal(same.buffer.begin(), same.buffer.end(), &back[i * block()])) << i;
    EXPECT_EQ(read(0, 1)[0], 0);
}

TEST_F(LogicalUnitTest, ZeroesAreWrittenAsZeroesOrAsBytes) {
    for (const bool can_write_zeroes : {true, false}) {
        SCOPED_TRACE(can_write_zeroes);
        unit.reset();
        owned_ = std::make_unique<TestBackend>(disk_size);
        TestBackend& plain = *owned_;
        plain.can.can_write_zeroes = can_write_zeroes;
        open();
        fill(0, 2048, 0xFF);
        plain.seen.clear();
        Command zeroes(cdb16(0x93, 1, 2046), block());
        run(zeroes);
        EXPECT_EQ(zeroes.answer.status, Status::good);
        EXPECT_EQ(plain.seen[0].operation,
                  can_write_zeroes ? Operation::write_zeroes : Operation::write);
        const auto back = read(0, 2048);
        EXPECT_EQ(std::count(back.begin(), back.end(), 0), 2046 * 512);
        EXPECT_EQ(back.front(), 0xFF);
        EXPECT_EQ(back.back(), 0xFF);
    }
}

TEST_F(LogicalUnitTest, UnmapTrimsEachRange) {
    open();
    fill(0, 1024, 0x77);
    Command unmap({0x42, 0, 0, 0, 0, 0, 0, 0, 8 + 3 * 16, 0}, 8 + 3 * 16);
    store_big_endian<std::uint16_t>(&unmap.buffer[0], 6 + 3 * 16);
    store_big_endian<std::uint16_t>(&unmap.buffer[2], 3 * 16);
    const std::uint64_t ranges[3][2] = {{0, 8}, {100, 0}, {1000, 24}};
    for (int i = 0; i < 3; ++i) {
        store_big_endian<std::uint64_t>(&unmap.buffer[8 + i * 16U], ranges[i][0]);
        store_big_endian<std::uint32_t>(&unmap.buffer[16 + i * 16U],
                                        static_cast<std::uint32_t>(ranges[i][1]));
    }
    backend.seen.clear();
    run(unmap);
    EXPECT_EQ(unmap.answer.status, Status::good);
    ASSERT_EQ(backend.seen.size(), 2U);
    EXPECT_EQ(backend.seen[1].operation, Operation::trim);
    EXPECT_EQ(backend.seen[1].offset, 1000U * 512);
    EXPECT_EQ(backend.seen[1].length, 24U * 512);
    EXPECT_EQ(read(7, 1)[0], 0);
    EXPECT_EQ(read(8, 1)[0], 0x77);
    EXPECT_EQ(read(1023, 1)[0], 0);
}

// One command after another gets the same place in the table.
TEST_F(LogicalUnitTest, EveryUnmapBeginsAtItsFirstRange) {
    open();
    fill(0, 64, 0x77);
    for (const std::uint64_t lba : {0, 8, 16}) {
        Command unmap({0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 24);
        store_big_endian<std::uint16_t>(&unmap.buffer[0], 22);
        store_big_endian<std::uint16_t>(&unmap.buffer[2], 16);
        store_big_endian<std::uint64_t>(&unmap.buffer[8], lba);
        store_big_endian<std::uint32_t>(&unmap.buffer[16], 4);
        run(unmap);
        EXPECT_EQ(read(lba, 1)[0], 0) << lba;
        EXPECT_EQ(read(lba + 4, 1)[0], 0x77) << lba;
    }
}

TEST_F(LogicalUnitTest, ARangeToTrimMayHaveMoreBytesThan32BitsHold) {
    constexpr std::uint32_t blocks = 0x0100'0001;  // eight GiB and a block
    backend.can.size = std::uint64_t{blocks} * 512;
    open();
    backend.hold = true;
    Command unmap({0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0}, 24);
    store_big_endian<std::uint16_t>(&unmap.buffer[0], 22);
    store_big_endian<std::uint16_t>(&unmap.buffer[2], 16);
    store_big_endian<std::uint32_t>(&unmap.buffer[16], blocks);
    start(unmap);
    std::uint64_t trimmed = 0;
    while (!backend.held.empty()) {
        backend::Request& piece = *backend.held.front();
        backend.held.erase(backend.held.begin());
        EXPECT_EQ(piece.offset, trimmed);
        trimmed += piece.length;
        piece.done(piece, backend::Error::none);
    }
    EXPECT_EQ(unmap.completions, 1);
    EXPECT_EQ(trimmed, backend.can.size);
}

TEST_F(LogicalUnitTest, ZeroesMakeHolesOnlyWhereTheInitiatorAllowsThem) {
    backend.can.trim_reads_zeroes = false;  // else it is a trim
    open();
    for (const bool allowed : {false, true}) {
        const std::uint8_t unmap = allowed ? 0x08 : 0;
        Command zeroes(cdb16(0x93, 0, 8, unmap), block());
        run(zeroes);
        EXPECT_EQ(backend.seen.back().operation, Operation::write_zeroes);
        EXPECT_EQ(backend.seen.back().may_punch_hole, allowed);
    }
}

TEST_F(LogicalUnitTest, WhoWaitedBehindAnAtomicTaskGoesOnWhenThatIsAborted) {
    open();
    backend.hold = true;
    Command before(read16(0, 1), block());
    Command atomic(compare_and_write(0, 1), 2 * block());
    Command after(read16(1, 1), block());
    for (Command* const command : {&before, &atomic, &after})
        start(*command);
    EXPECT_EQ(backend.held.size(), 1U) << "it runs alone";
    Ending ending;
    unit->abort(atomic, ending);
    EXPECT_EQ(ending.times, 1);
    EXPECT_EQ(atomic.cause, Cause::aborted);
    EXPECT_EQ(backend.held.size(), 2U);
    backend.release_all();
    EXPECT_EQ(before.completions + after.completions, 2);
}

TEST_F(LogicalUnitTest, ErrorsOfTheBackendBecomeSenseData) {
    open();
    backend.fail = backend::Error::no_space;
    Command write(write16(0, 1), block());
    run(write);
    EXPECT_EQ(write.answer.sense.key, SenseKey::data_protect);
    EXPECT_EQ(write.asc(), 0x2707);
    backend.fail = backend::Error::disconnected;
    Command read(read16(0, 1), block());
    run(read);
    EXPECT_EQ(read.answer.sense.key, SenseKey::not_ready);
}

TEST_F(LogicalUnitTest, AnAbortWaitsForTheBackendToLetGoOfTheBuffer) {
    open();
    backend.hold = true;
    Command write(write16(0, 1), block());
    start(write);
    Ending ending;
    unit->abort(write, ending);
    EXPECT_EQ(write.completions, 0);
    EXPECT_EQ(ending.times, 0);
    backend.release_all();
    EXPECT_EQ(write.completions, 1);
    EXPECT_EQ(write.cause, Cause::aborted);
    EXPECT_EQ(ending.times, 1);
}

// What fencing is for: nothing of the preempted initiator's reaches the storage after the answer.
TEST_F(LogicalUnitTest, APreemptAndAbortWaitsForTheBackendToLetGoOfWhatItAborts) {
    open();
    constexpr std::uint8_t write_exclusive = 1;
    const auto reserve_out = [](scsi::Nexus from, std::uint8_t action, std::uint64_t key,
                                std::uint64_t action_key) {
        auto command = std::make_unique<Command>(
            std::vector<std::uint8_t>{0x5F, action, write_exclusive, 0, 0, 0, 0, 0, 24, 0}, 24,
            from);
        store_big_endian<std::uint64_t>(&command->buffer[0], key);
        store_big_endian<std::uint64_t>(&command->buffer[8], action_key);
        return command;
    };
    const auto good = [this](const std::unique_ptr<Command>& command) {
        run(*command);
        return command->answer.status == Status::good;
    };
    ASSERT_TRUE(good(reserve_out(1, 0, 0, 11)));
    ASSERT_TRUE(good(reserve_out(2, 0, 0, 22)));
    ASSERT_TRUE(good(reserve_out(2, 1, 22, 0)));
    backend.hold = true;
    Command write(write16(0, 1), block(), 2);
    start(write);
    const auto preempt = reserve_out(1, 5, 11, 22);
    start(*preempt);
    EXPECT_EQ(preempt->completions, 0) << "the write is on its way";
    Ending ending;
    unit->abort(*preempt, ending);
    EXPECT_EQ(ending.times, 0);
    backend.release_all();
    EXPECT_EQ(write.cause, Cause::aborted);
    EXPECT_EQ(preempt->completions, 1);
    EXPECT_EQ(preempt->answer.status, Status::good);
    EXPECT_EQ(ending.times, 1);
    EXPECT_TRUE(good(reserve_out(1, 5, 11, 11))) << "nothing to wait for";
}

TEST_F(LogicalUnitTest, AnAbortOfNothingIsDoneAtOnce) {
    open();
    Command write(write16(0, 1), block());
    Ending ending;
    unit->abort(write, ending);
    EXPECT_EQ(ending.times, 1);
}

TEST_F(LogicalUnitTest, AbortedTasksGoOnNoFurther) {
    backend.can.can_fua = false;
    open();
    backend.hold = true;
    Command write(write16(0, 1, 0x08), block());
    start(write);
    Ending ending;
    unit->abort_nexus(0, ending);
    backend.release_one();
    EXPECT_EQ(write.cause, Cause::aborted);
    EXPECT_EQ(backend.held.size(), 0U) << "no flush follows";
}

TEST_F(LogicalUnitTest, ClearTellsThoseWhoLoseCommands) {
    open();
    backend.hold = true;
    Command mine(write16(0, 1), block(), 1);
    Command others(write16(1, 1), block(), 2);
    start(mine);
    start(others);
    Ending ending;
    unit->clear(1, ending);
    backend.release_all();
    EXPECT_EQ(ending.times, 1);
    EXPECT_EQ(mine.cause, Cause::aborted);
    EXPECT_EQ(others.cause, Cause::aborted);
    Command ready(test_unit_ready, 0, 2);
    run(ready);
    EXPECT_EQ(ready.answer.sense.key, SenseKey::unit_attention);
    EXPECT_EQ(ready.asc(), 0x2F00);
    for (const scsi::Nexus nexus : {1, 3}) {
        Command calm(test_unit_ready, 0, nexus);
        run(calm);
        EXPECT_EQ(calm.answer.status, Status::good);
    }
}

TEST_F(LogicalUnitTest, ANewNexusAndAResetAreToldOnce) {
    open();
    unit->nexus_begins(4);
    const auto told = [&](scsi::Nexus nexus) {
        Command ready(test_unit_ready, 0, nexus);
        start(ready);
        return ready.answer.status == Status::good ? 0 : ready.asc();
    };
    EXPECT_EQ(told(4), 0x2900);
    EXPECT_EQ(told(4), 0);
    Ending ending;
    unit->reset(ending);
    EXPECT_EQ(ending.times, 1);
    EXPECT_EQ(told(4), 0x2900);
    EXPECT_EQ(told(5), 0x2900);
    EXPECT_EQ(told(4), 0);
}

TEST_F(LogicalUnitTest, MoreComparesThanScratchBuffersWaitInLine) {
    open();
    fill(0, 1, 0x42);
    backend.hold = true;
    std::vector<std::unique_ptr<Command>> commands;
    for (std::size_t i = 0; i < 3 * ScratchPool::buffer_count; ++i) {
        commands.push_back(std::make_unique<Command>(verify16(0, 1, 0x02), block()));
        std::fill(commands.back()->buffer.begin(), commands.back()->buffer.end(), 0x42);
        start(*commands.back());
    }
    EXPECT_EQ(backend.held.size(), ScratchPool::buffer_count);
    backend.release_all();
    for (const auto& command : commands) {
        EXPECT_EQ(command->completions, 1);
        EXPECT_EQ(command->answer.status, Status::good);
    }
}

TEST_F(LogicalUnitTest, AFullTaskSetSaysSo) {
    open();
    backend.hold = true;
    std::vector<std::unique_ptr<Command>> commands;
    for (int i = 0; i < 1025; ++i) {
        commands.push_back(std::make_unique<Command>(write16(0, 1), block()));
        start(*commands.back());
    }
    EXPECT_EQ(commands.back()->answer.status, Status::task_set_full);
    EXPECT_EQ(commands.back()->completions, 1);
    backend.release_all();
    EXPECT_EQ(commands.front()->completions, 1);
}

TEST_F(LogicalUnitTest, SettingsShowInTheDescription) {
    open({.block_size = 512,
          .physical_block_size = 4096,
          .read_only = true,
          .serial = "abc",
          .naa = {}});
    EXPECT_EQ(unit->description().physical_block_exponent, 3);
    EXPECT_TRUE(unit->description().read_only);
    EXPECT_EQ(unit->description().naa[0] >> 4, 3);
    EXPECT_EQ(unit->block_count(), disk_size / 512);
    Command write(write16(0, 1), block());
    run(write);
    EXPECT_EQ(write.answer.sense.key, SenseKey::data_protect);
}

TEST_F(LogicalUnitTest, SettingsThatMakeNoSenseAreRefused) {
    const UnitSettings bad[] = {
        {.block_size = 1024, .physical_block_size = 0, .read_only = false, .serial = {}, .naa = {}},
        {.block_size = 4096,
         .physical_block_size = 512,
         .read_only = false,
         .serial = {},
         .naa = {}},
        {.block_size = 512,
         .physical_block_size = 0,
         .read_only = false,
         .serial = std::string(256, 'x'),
         .naa = {}},
        {.block_size = 512,
         .physical_block_size = 0,
         .read_only = false,
         .serial = {},
         .naa = "\x10"
                "2345678"},
    };
    for (const auto& settings : bad) {
        const auto made =
            LogicalUnit::create(std::make_unique<TestBackend>(disk_size), settings, names_);
        EXPECT_FALSE(made);
    }
}

TEST_F(LogicalUnitTest, APhysicalBlockHasSixteenMebibytesAtMost) {
    for (const auto& [shift, fits] : {std::pair{15U, true}, {16U, false}}) {
        const UnitSettings settings{.block_size = 512,
                                    .physical_block_size = 512U << shift,
                                    .read_only = false,
                                    .serial = {},
                                    .naa = {}};
        const auto made =
            LogicalUnit::create(std::make_unique<TestBackend>(disk_size), settings, names_);
        EXPECT_EQ(made.ok(), fits) << shift;
        if (made) {
            EXPECT_EQ(made.value()->description().physical_block_exponent, shift);
        }
    }
}

TEST_F(LogicalUnitTest, AClosedUnitIsNotReady) {
    open();
    unit->close();
    EXPECT_TRUE(backend.closed);
    Command read(read16(0, 1), 512);
    run(read);
    EXPECT_EQ(read.answer.sense.key, SenseKey::not_ready);
}

}  // namespace
}  // namespace wnbd::iscsi::test
