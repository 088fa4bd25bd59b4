// SPDX-License-Identifier: LGPL-2.1-or-later
// GET LBA STATUS, which asks the backend like any other command.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/logical_unit_fixture.h"

namespace wnbd::iscsi::test {
namespace {

auto get_lba_status(std::uint64_t lba, std::uint32_t allocation_length) {
    return cdb16(0x9E, lba, allocation_length, 0x12);
}

class LbaStatusTest : public LogicalUnitTest {
  protected:
    /// The answer in the form "lba+blocks mapped".
    std::string status(std::uint64_t lba, std::uint32_t allocation_length = 1024) {
        Command command(get_lba_status(lba, allocation_length), allocation_length);
        run(command);
        return text_of(command);
    }
    static std::string text_of(const Command& command) {
        if (command.answer.status != Status::good) return "no";
        std::string text;
        for (std::size_t at = 8; at + 16 <= command.answer.transferred; at += 16)
            text += std::to_string(load_big_endian<std::uint64_t>(&command.buffer[at])) + "+" +
                    std::to_string(load_big_endian<std::uint32_t>(&command.buffer[at + 8])) +
                    (command.buffer[at + 12] == 0 ? " mapped " : " deallocated ");
        return text;
    }

    static constexpr backend::Extent data(std::uint64_t length) { return {length, true, false}; }
    static constexpr backend::Extent hole(std::uint64_t length) { return {length, false, true}; }
};

TEST_F(LbaStatusTest, TellsWhatTheBackendHasAndWhatIsAHole) {
    open();
    EXPECT_EQ(status(0), "0+131072 deallocated ");
    fill(256, 128, 1);
    EXPECT_EQ(status(0), "0+256 deallocated 256+128 mapped 384+130688 deallocated ");
    EXPECT_EQ(status(300), "300+84 mapped 384+130688 deallocated ");
    EXPECT_EQ(status(131071), "131071+1 deallocated ");
    EXPECT_EQ(status(131072), "no");
}

TEST_F(LbaStatusTest, TheAnswerIsAsLongAsItsRoomAndItsRuns) {
    open();
    fill(256, 128, 1);
    Command cut(get_lba_status(0, 24), 24);
    run(cut);
    EXPECT_EQ(cut.answer.transferred, 24U);
    EXPECT_EQ(text_of(cut), "0+256 deallocated ");
    Command all(get_lba_status(0, 1024), 1024);
    run(all);
    EXPECT_EQ(all.answer.transferred, 8U + 3 * 16);
    EXPECT_EQ(load_big_endian<std::uint32_t>(all.buffer.data()), 4U + 3 * 16);
    Command little(get_lba_status(0, 4), 4);
    run(little);
    EXPECT_EQ(little.answer.transferred, 4U);
    Command nothing(get_lba_status(0, 0), 0);
    run(nothing);
    EXPECT_EQ(nothing.answer.status, Status::good);
}

TEST_F(LbaStatusTest, ABlockIsDeallocatedWhenAllOfItIs) {
    open();
    backend.told = {{hole(512 + 100), hole(412), data(1), hole(511 + 512 + 1), data(511), hole(8)}};
    EXPECT_EQ(status(0, 8 + 4 * 16), "0+2 deallocated 2+1 mapped 3+1 deallocated 4+1 mapped ");
}

TEST_F(LbaStatusTest, GoesOnWhereTheBackendStops) {
    open();
    backend.told = {{hole(512)}, {hole(1000)}, {data(512)}, {}, {hole(700)}};
    // Of the second piece's last block only a part was told, and of the fourth nothing.
    EXPECT_EQ(status(10, 8 + 3 * 16), "10+2 deallocated 12+2 mapped 14+131058 deallocated ");
    ASSERT_EQ(backend.seen.size(), 6U);
    for (std::uint64_t i = 0; i < 6; ++i)
        EXPECT_EQ(backend.seen[i].offset, (10 + i) * 512);
}

TEST_F(LbaStatusTest, AsksNoMoreThanAnAnswerHoldsOrSixteenTimes) {
    open();
    backend.told = {{hole(512), data(512), hole(512)}};
    EXPECT_EQ(status(0, 24), "0+1 deallocated ");
    EXPECT_EQ(backend.seen.size(), 1U);
    backend.seen.clear();
    backend.told.assign(100, {data(512)});
    EXPECT_EQ(status(0), "0+16 mapped ");
    EXPECT_EQ(backend.seen.size(), 16U);
}

TEST_F(LbaStatusTest, WhoCannotTellSaysMapped) {
    for (const auto error : {backend::Error::not_supported, backend::Error::invalid}) {
        unit.reset();
        owned_ = std::make_unique<TestBackend>(disk_size);
        owned_->fail = error;
        open();
        EXPECT_EQ(status(1), "1+131071 mapped ");
    }
    unit.reset();
    owned_ = std::make_unique<TestBackend>(disk_size);
    TestBackend& silent = *owned_;
    silent.can.can_tell_extents = false;
    open();
    EXPECT_EQ(status(1), "1+131071 mapped ");
    EXPECT_TRUE(silent.seen.empty());
}

TEST_F(LbaStatusTest, AFullyProvisionedUnitIsMappedWhateverTheBackendSays) {
    backend.can.can_trim = false;
    open();
    EXPECT_EQ(status(0), "0+131072 mapped ");
    EXPECT_TRUE(backend.seen.empty());
}

TEST_F(LbaStatusTest, AnErrorOfTheBackendIsToldUnlessSomethingIsKnown) {
    open();
    backend.fail = backend::Error::disconnected;
    Command lost(get_lba_status(0, 1024), 1024);
    run(lost);
    EXPECT_EQ(lost.answer.sense.key, SenseKey::not_ready);
    EXPECT_EQ(lost.answer.transferred, 0U);
    backend.fail = backend::Error::none;
    backend.hold = true;
    backend.told = {{hole(5120)}};
    Command half(get_lba_status(0, 1024), 1024);
    start(half);
    ASSERT_EQ(backend.held.size(), 1U);
    backend.release_one();
    ASSERT_EQ(backend.held.size(), 1U) << "more is asked";
    backend.fail = backend::Error::io;
    backend.release_one();
    EXPECT_EQ(text_of(half), "0+10 deallocated ");
}

TEST_F(LbaStatusTest, NobodyWaitsForTheBackend) {
    open();
    backend.hold = true;
    Command slow(get_lba_status(0, 1024), 1024);
    start(slow);
    EXPECT_EQ(slow.completions, 0);
    ASSERT_EQ(backend.held.size(), 1U);
    EXPECT_EQ(backend.held[0]->operation, Operation::extents);
    Command other(test_unit_ready);
    start(other);
    EXPECT_EQ(other.completions, 1);
    backend.release_all();
    EXPECT_EQ(slow.completions, 1);
    EXPECT_EQ(text_of(slow), "0+131072 deallocated ");
}

TEST_F(LbaStatusTest, AnAbortEndsItOnceTheBackendHasLetGo) {
    open();
    backend.hold = true;
    for (const bool everything : {false, true}) {
        Command slow(get_lba_status(0, 1024), 1024);
        start(slow);
        Ending ending;
        if (everything)
            unit->reset(ending);
        else
            unit->abort(slow, ending);
        ASSERT_EQ(slow.completions, 0);
        EXPECT_EQ(ending.times, 0);
        backend.told = {{hole(512)}};
        backend.release_one();
        // What it asks next is on its way by then, or it is over.
        backend.release_all();
        EXPECT_EQ(slow.completions, 1);
        EXPECT_EQ(slow.cause, Cause::aborted);
        EXPECT_EQ(ending.times, 1);
        backend.told.clear();
    }
}

TEST_F(LbaStatusTest, MoreThanThereAreScratchBuffersWaitInLine) {
    open();
    backend.hold = true;
    std::vector<std::unique_ptr<Command>> commands;
    for (std::size_t i = 0; i < 3 * ScratchPool::buffer_count; ++i) {
        commands.push_back(std::make_unique<Command>(get_lba_status(i, 64), 64));
        start(*commands.back());
    }
    EXPECT_EQ(backend.held.size(), ScratchPool::buffer_count);
    backend.release_all();
    for (const auto& command : commands)
        EXPECT_EQ(command->completions, 1);
}

}  // namespace
}  // namespace wnbd::iscsi::test
