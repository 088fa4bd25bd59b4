// SPDX-License-Identifier: LGPL-2.1-or-later
// What requests do to a disk, run step by step against one in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "scsi/model_disk.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t blocks = 1024;

/// Small steps, so that every command of more than a few blocks is split.
Disk small_steps(std::uint32_t block_size = 512) {
    Disk disk;
    disk.block_size = block_size;
    disk.max_transfer_length = 4 * block_size;
    return disk;
}

Bytes noise(std::size_t length, unsigned seed) {
    std::mt19937 random(seed);
    Bytes bytes(length);
    for (auto& byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

std::vector<Verb> verbs(const ModelDisk& model) {
    std::vector<Verb> list;
    for (const Step& step : model.steps) {
        if (list.empty() || list.back() != step.verb) list.push_back(step.verb);
    }
    return list;
}

class Steps : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    Steps() : model(small_steps(GetParam()), blocks) {
        model.content = noise(model.content.size(), 1);
        model.medium = model.content;
    }
    ~Steps() override { EXPECT_THAT(model.violations, IsEmpty()); }

    std::uint32_t run(const Bytes& cdb, Bytes& data) { return outcome(model.run(cdb, data)); }
    std::uint32_t run(const Bytes& cdb) {
        Bytes none;
        return run(cdb, none);
    }

    [[nodiscard]] Bytes at(std::uint64_t lba, std::uint64_t count) const {
        const auto from = model.content.begin() + static_cast<long>(lba * size);
        return {from, from + static_cast<long>(count * size)};
    }

    std::size_t size = GetParam();  // of a block
    ModelDisk model;
};

INSTANTIATE_TEST_SUITE_P(BlockSizes, Steps, ::testing::Values(512U, 4096U),
                         ::testing::PrintToStringParamName());

TEST_P(Steps, ReadsOfEveryLengthArriveWholeAndInOrder) {
    for (unsigned count = 1; count < 20; ++count) {
        Bytes data(count * size + 7, 0xEE);
        EXPECT_EQ(model.run(block_cdb(0x88, 3, count), data).transferred, count * size);
        EXPECT_EQ(Bytes(data.begin(), data.end() - 7), at(3, count));
        EXPECT_EQ(Bytes(data.end() - 7, data.end()), Bytes(7, 0xEE));
        EXPECT_EQ(model.steps.size(), (count + 3) / 4);
    }
}

TEST_P(Steps, WritesOfEveryLengthChangeTheirBlocksAndNoOther) {
    for (unsigned count = 1; count < 20; ++count) {
        Bytes expected = model.content;
        Bytes data = noise(count * size, count);
        std::ranges::copy(data, expected.begin() + static_cast<long>(5 * size));
        EXPECT_EQ(run(block_cdb(0x2A, 5, count), data), is_good);
        EXPECT_EQ(model.content, expected);
    }
}

TEST_P(Steps, FuaIsKeptByTheStorageOrByAFlushOrByNothingVolatile) {
    for (const bool flush : {false, true}) {
        for (const bool fua : {false, true}) {
            ModelDisk disk(small_steps(GetParam()), blocks);
            disk.disk.flush_supported = flush;
            disk.disk.fua_supported = fua;
            Bytes data = noise(10 * size, 3);
            EXPECT_EQ(outcome(disk.run(block_cdb(0x8A, 9, 10, 0x08), data)), is_good);
            disk.lose_power();
            EXPECT_TRUE(std::equal(data.begin(), data.end(),
                                   disk.content.begin() + static_cast<long>(9 * size)));
            EXPECT_EQ(disk.steps.back().verb, flush && !fua ? Verb::flush : Verb::write);
            EXPECT_EQ(disk.steps.front().force_unit_access, fua);
            EXPECT_THAT(disk.violations, IsEmpty());
        }
    }
}

TEST_P(Steps, PlainWriteMayBeLostUntilItIsFlushed) {
    model.disk.flush_supported = true;
    const Bytes before = model.content;
    Bytes data(size, 0x55);
    EXPECT_EQ(run(block_cdb(0x2A, 0, 1), data), is_good);
    model.lose_power();
    EXPECT_EQ(model.content, before);
    EXPECT_EQ(run(block_cdb(0x2A, 0, 1), data), is_good);
    EXPECT_EQ(run(block_cdb(0x35, 0, 0)), is_good);
    model.lose_power();
    EXPECT_EQ(at(0, 1), data);
}

TEST_P(Steps, FuaReadFlushesBeforeItReads) {
    model.disk.flush_supported = true;
    Bytes data(size);
    EXPECT_EQ(run(block_cdb(0x28, 0, 1, 0x08), data), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::flush, Verb::read));
    model.disk.read_only = true;
    EXPECT_EQ(run(block_cdb(0x28, 0, 1, 0x08), data), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::read));
}

TEST_P(Steps, FlushCarriesItsRange) {
    model.disk.flush_supported = true;
    EXPECT_EQ(run(block_cdb(0x91, 7, 9)), is_good);
    ASSERT_EQ(model.steps.size(), 1U);
    EXPECT_EQ(model.steps[0].lba, 7U);
    EXPECT_EQ(model.steps[0].blocks, 9U);
    EXPECT_EQ(run(Bytes{0x1B, 0, 0, 0, 0, 0}), is_good);  // STOP
    EXPECT_THAT(verbs(model), ElementsAre(Verb::flush));
}

TEST_P(Steps, VerifyWithoutDataReadsEverythingOnce) {
    EXPECT_EQ(run(block_cdb(0x8F, 1, 1023)), is_good);
    std::uint64_t next = 1;
    for (const Step& step : model.steps) {
        EXPECT_EQ(step.lba, next);
        EXPECT_EQ(step.sink, Sink::discard);
        next += step.blocks;
    }
    EXPECT_EQ(next, 1024U);
}

TEST_P(Steps, VerifyFindsEveryDifferingByte) {
    constexpr unsigned count = 9;
    Bytes same = at(20, count);
    EXPECT_EQ(run(block_cdb(0x2F, 20, count, 0x02), same), is_good);
    for (const std::size_t offset :
         {std::size_t{0}, std::size_t{1}, std::size_t{size - 1}, std::size_t{4 * size - 1},
          std::size_t{4 * size}, std::size_t{count * size - 1}}) {
        Bytes other = same;
        other[offset] ^= 0x01;
        const Answer answer = model.run(block_cdb(0x2F, 20, count, 0x02), other);
        EXPECT_EQ(outcome(answer), is_miscompare);
        EXPECT_TRUE(answer.sense.information_valid);
        EXPECT_EQ(answer.sense.information, offset);
    }
}

TEST_P(Steps, VerifyWithOneBlockComparesItWithAll) {
    Bytes block = noise(size, 7);
    for (unsigned i = 0; i < 9; ++i) {
        std::ranges::copy(block, model.content.begin() + static_cast<long>((30 + i) * size));
    }
    EXPECT_EQ(run(block_cdb(0xAF, 30, 9, 0x06), block), is_good);
    model.content[(38 * size) + 5] ^= 0x80;
    const Answer answer = model.run(block_cdb(0xAF, 30, 9, 0x06), block);
    EXPECT_EQ(outcome(answer), is_miscompare);
    EXPECT_EQ(answer.sense.information, 5U);
    EXPECT_EQ(run(block_cdb(0xAF, 30, 8, 0x06), block), is_good);
}

TEST_P(Steps, VerifyLooksAtTheMediumBehindAVolatileCache) {
    model.disk.flush_supported = true;
    EXPECT_EQ(run(block_cdb(0x2F, 0, 1)), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::flush, Verb::read));
    model.disk.fua_supported = true;
    EXPECT_EQ(run(block_cdb(0x2F, 0, 1)), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::read));
    EXPECT_TRUE(model.steps[0].force_unit_access);
}

TEST_P(Steps, WriteAndVerifyWritesFlushesAndReadsBack) {
    model.disk.flush_supported = true;
    Bytes data = noise(10 * size, 4);
    EXPECT_EQ(run(block_cdb(0x2E, 2, 10), data), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::write, Verb::flush, Verb::read));
    EXPECT_EQ(model.steps.back().sink, Sink::discard);
    EXPECT_EQ(run(block_cdb(0x8E, 2, 10, 0x02), data), is_good);
    EXPECT_EQ(model.steps.back().sink, Sink::compare);
    model.lose_power();
    EXPECT_EQ(at(2, 10), data);
}

TEST_P(Steps, WriteAndVerifyNoticesStorageThatDoesNotKeepItsData) {
    Bytes data = noise(10 * size, 4);
    const std::size_t broken = 9 * size;
    model.before_step = [this, broken](const Step& step) {
        if (step.verb == Verb::read) model.content[broken] = 0x5A;
    };
    data[7 * size] = 0xA5;
    const Answer answer = model.run(block_cdb(0xAE, 2, 8, 0x02), data);
    EXPECT_EQ(outcome(answer), is_miscompare);
    EXPECT_EQ(answer.sense.information, 7U * size);
    EXPECT_EQ(run(block_cdb(0xAE, 2, 8), data), is_good);  // nothing compared, nothing noticed
}

TEST_P(Steps, CompareAndWriteWritesOnlyWhenAllIsEqual) {
    constexpr std::uint8_t count = 10;
    Bytes data = at(50, count);
    const Bytes replacement = noise(count * size, 9);
    data.insert(data.end(), replacement.begin(), replacement.end());
    for (std::size_t offset = 0; offset < count * size; offset += size - 1) {
        const Bytes before = model.content;
        Bytes other = data;
        other[offset] ^= 0xFF;
        const Answer answer = model.run(compare_and_write_cdb(50, count), other);
        EXPECT_EQ(outcome(answer), is_miscompare);
        EXPECT_EQ(answer.sense.information, offset);
        EXPECT_EQ(model.content, before);
        EXPECT_THAT(verbs(model), ElementsAre(Verb::read));
    }
    EXPECT_EQ(model.run(compare_and_write_cdb(50, count), data).transferred, data.size());
    EXPECT_EQ(at(50, count), replacement);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::read, Verb::write));
}

TEST_P(Steps, CompareAndWriteKeepsFua) {
    model.disk.flush_supported = true;
    Bytes data = at(0, 1);
    data.resize(2 * size, 0x77);
    EXPECT_EQ(run(compare_and_write_cdb(0, 1, 0x08), data), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::read, Verb::write, Verb::flush));
    model.lose_power();
    EXPECT_EQ(at(0, 1), Bytes(size, 0x77));
}

TEST_P(Steps, OrWriteAddsItsDataToTheMedium) {
    model.disk.or_write_supported = true;
    model.disk.flush_supported = true;
    const Bytes before = at(3, 2);
    Bytes data = noise(2 * size, 5);
    const Bytes sent = data;
    EXPECT_EQ(run(block_cdb(0x8B, 3, 2, 0x08), data), is_good);
    EXPECT_THAT(verbs(model), ElementsAre(Verb::read, Verb::write, Verb::flush));
    Bytes expected = before;
    for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] |= sent[i];
    EXPECT_EQ(at(3, 2), expected);
}

TEST_P(Steps, OnlyWhatReadsAndWritesAtomicallyRunsAlone) {
    for (unsigned action = 0; action <= static_cast<unsigned>(Action::persistent_reserve_out);
         ++action) {
        BlockRequest request;
        request.action = static_cast<Action>(action);
        EXPECT_EQ(runs_alone(request), request.action == Action::compare_and_write ||
                                           request.action == Action::or_write);
    }
}

TEST_P(Steps, WriteSameRepeatsItsBlock) {
    Bytes block = noise(size, 11);
    for (const std::uint8_t opcode : {0x41, 0x93}) {
        Bytes expected = model.content;
        for (unsigned i = 0; i < 11; ++i) {
            std::ranges::copy(block, expected.begin() + static_cast<long>((100 + i) * size));
        }
        EXPECT_EQ(model.run(block_cdb(opcode, 100, 11), block).transferred, size);
        EXPECT_EQ(model.content, expected);
        block = noise(size, 12);
    }
}

TEST_P(Steps, WriteSameUnmapsOnlyZeroesThatReadAsZeroesAfterwards) {
    for (const bool reads_zeroes : {false, true}) {
        for (const bool zeroes : {false, true}) {
            for (const bool unmap : {false, true}) {
                ModelDisk disk(small_steps(GetParam()), blocks);
                disk.disk.unmap_supported = true;
                disk.disk.unmap_reads_zeroes = reads_zeroes;
                disk.unmapped_pattern = reads_zeroes ? 0 : 0x99;
                disk.content = noise(disk.content.size(), 5);
                Bytes block(size, 0);
                if (!zeroes) block.back() = 1;
                const std::uint8_t flags = unmap ? 0x08 : 0;
                EXPECT_EQ(outcome(disk.run(block_cdb(0x93, 8, 600, flags), block)), is_good);
                const bool unmaps = reads_zeroes && zeroes && unmap;
                EXPECT_EQ(disk.steps[0].verb, unmaps ? Verb::unmap : Verb::write);
                EXPECT_EQ(disk.steps.size(), unmaps ? 1U : 150U);
                for (unsigned i = 8; i < 608; ++i) {
                    EXPECT_TRUE(std::equal(block.begin(), block.end(),
                                           disk.content.begin() + static_cast<long>(i * size)));
                }
                EXPECT_THAT(disk.violations, IsEmpty());
            }
        }
    }
}

TEST_P(Steps, WriteSameWithoutDataWritesZeroes) {
    EXPECT_EQ(run(block_cdb(0x93, 8, 9, 0x01)), is_good);
    EXPECT_EQ(at(8, 9), Bytes(9 * size, 0));
    EXPECT_EQ(model.steps[0].source, Source::zeroes);
}

TEST_P(Steps, WriteSameDoesNotTurnZeroesIntoDataThatCameLater) {
    model.disk.unmap_supported = true;
    Bytes block(size, 0);
    model.before_step = [&block](const Step&) { block[3] = 0x66; };
    EXPECT_EQ(run(block_cdb(0x93, 8, 9, 0x08), block), is_good);
    EXPECT_EQ(at(8, 9), Bytes(9 * size, 0));
}

TEST_P(Steps, UnmapReachesEveryRangeInGroupsAndSkipsEmptyOnes) {
    const std::vector<Range> ranges{{0, 1},    {10, 2},   {20, 0}, {30, 3},
                                    {1023, 1}, {1024, 0}, {40, 1}};
    model.disk.unmap_supported = true;
    for (const std::uint32_t limit : {1U, 2U, 3U, 256U}) {
        model.disk.max_unmap_descriptors_per_step = limit;
        model.content = noise(model.content.size(), limit);
        Bytes expected = model.content;
        for (const Range& range : ranges) {
            std::fill_n(expected.begin() + static_cast<long>(range.lba * size), range.blocks * size,
                        std::uint8_t{0});
        }
        Bytes list = unmap_list(ranges);
        EXPECT_EQ(model.run(unmap_cdb(list.size()), list).transferred, list.size());
        EXPECT_EQ(model.content, expected);
        std::vector<std::uint32_t> groups;
        groups.reserve(model.steps.size());
        for (const Step& step : model.steps)
            groups.push_back(step.descriptor_count);
        if (limit == 1) {
            EXPECT_THAT(groups, ElementsAre(1, 1, 1, 1, 1));
        }
        if (limit == 2) {
            EXPECT_THAT(groups, ElementsAre(2, 2, 1));
        }
        if (limit == 256) {
            EXPECT_THAT(groups, ElementsAre(2, 2, 1));
        }
    }
}

TEST_P(Steps, UnmapOfTheLargestListEnds) {
    model.disk.unmap_supported = true;
    model.disk.max_unmap_descriptors_per_step = 100;
    std::vector<Range> ranges(256);
    for (std::size_t i = 0; i < 256; ++i)
        ranges[i] = {i * 4, 1};
    Bytes list = unmap_list(ranges);
    EXPECT_EQ(run(unmap_cdb(list.size()), list), is_good);
    EXPECT_EQ(model.steps.size(), 3U);
    for (std::size_t i = 0; i < 256; ++i)
        EXPECT_EQ(at(i * 4, 1), Bytes(size, 0));
}

TEST_P(Steps, UnmapRangesThatChangeAfterTheCheckDoNotEscape) {
    model.disk.unmap_supported = true;
    model.disk.max_unmap_descriptors_per_step = 2;
    Bytes list = unmap_list({{0, 1}, {5, 1}});
    const Bytes before = model.content;
    for (const Range& hostile : {Range{1024, 1}, Range{~0ULL, 0xFFFFFFFF}, Range{1000, 25}}) {
        model.content = before;
        Bytes changing = list;
        model.before_step = [&changing, &hostile](const Step&) {
            store_big_endian(&changing[8], hostile.lba);
            store_big_endian(&changing[16], hostile.blocks);
        };
        EXPECT_EQ(run(unmap_cdb(changing.size()), changing), is_good);
        EXPECT_EQ(at(0, 5), Bytes(before.begin(), before.begin() + static_cast<long>(5 * size)));
        EXPECT_EQ(at(5, 1), Bytes(size, 0));
    }
}

TEST_P(Steps, ReservationsMoveTheirParameters) {
    model.disk.persistent_reservations_supported = true;
    model.reservation_reply = noise(40, 1);
    Bytes data(64, 0xEE);
    EXPECT_EQ(run({0x5E, 0x02, 0, 0, 0, 0, 0, 0, 48, 0}, data), is_good);
    EXPECT_EQ(Bytes(data.begin(), data.begin() + 40), model.reservation_reply);
    EXPECT_EQ(Bytes(data.begin() + 40, data.begin() + 48), Bytes(8, 0));
    EXPECT_EQ(Bytes(data.begin() + 48, data.end()), Bytes(16, 0xEE));
    Bytes list(24, 0);
    list[15] = 7;
    EXPECT_EQ(run({0x5F, 0x00, 0, 0, 0, 0, 0, 0, 24, 0}, list), is_good);
    EXPECT_EQ(model.reservation_parameters, list);
}

TEST_P(Steps, ShortRepliesCountAsZeroesAndLongOnesAreCut) {
    Step step;
    step.sink = Sink::data;
    step.reply_length = 8;
    step.data_offset = 4;
    Bytes data(16, 0xEE);
    EXPECT_EQ(outcome(absorb_reply(model.disk, step, Bytes(3, 0x11), data)), is_good);
    EXPECT_EQ(data, (Bytes{0xEE, 0xEE, 0xEE, 0xEE, 0x11, 0x11, 0x11, 0, 0, 0, 0, 0,  //
                           0xEE, 0xEE, 0xEE, 0xEE}));
    EXPECT_EQ(outcome(absorb_reply(model.disk, step, Bytes(30, 0x22), data)), is_good);
    EXPECT_EQ(data[11], 0x22);
    EXPECT_EQ(data[12], 0xEE);
    step.sink = Sink::compare;
    EXPECT_EQ(outcome(absorb_reply(model.disk, step, Bytes(7, 0x22), data)), is_miscompare);
    std::fill(data.begin(), data.end(), std::uint8_t{0});
    EXPECT_EQ(outcome(absorb_reply(model.disk, step, {}, data)), is_good);
}

TEST_P(Steps, BuffersSmallerThanAStepAreNeverLeft) {
    Step step;
    step.source = Source::data;
    step.sink = Sink::data;
    step.payload_length = step.reply_length = 64;
    for (std::size_t length = 0; length < 64; ++length) {
        for (const std::size_t offset : {0, 1, 32, 63, 64, 1000}) {
            step.data_offset = offset;
            const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[length]{});
            const std::span<std::uint8_t> data(exact.get(), length);
            Bytes payload(64, 0xEE);
            fill_payload(model.disk, step, data, payload);
            EXPECT_EQ(payload, Bytes(64, 0));
            EXPECT_EQ(outcome(absorb_reply(model.disk, step, payload, data)), is_good);
        }
    }
}

}  // namespace
}  // namespace wnbd::scsi
