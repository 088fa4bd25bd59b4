// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/coverage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace wnbd::nbd {
namespace {

using Added = CoverageBook::Added;

TEST(Coverage, AscendingRunsNeedNoBook) {
    CoverageBook book;
    Coverage coverage;
    for (std::uint32_t at = 0; at < 100'000; at += 10)
        ASSERT_EQ(book.add(coverage, at, 10), Added::ok);
    EXPECT_EQ(coverage.front, 100'000U);
    EXPECT_EQ(coverage.first, Coverage::none);
}

TEST(Coverage, ABackwardsOrderMeetsInTheMiddle) {
    CoverageBook book;
    Coverage coverage;
    for (std::uint32_t at = 100; at-- > 1;)
        ASSERT_EQ(book.add(coverage, at, 1), Added::ok);
    EXPECT_EQ(coverage.front, 0U);
    EXPECT_EQ(book.total(coverage), 99U);
    ASSERT_EQ(book.add(coverage, 0, 1), Added::ok);
    EXPECT_EQ(coverage.front, 100U);
    EXPECT_EQ(coverage.first, Coverage::none);
}

/// Beside a bit for each byte: the same answer to every run, and the same bytes in the end.
TEST(Coverage, IsExactForRandomRuns) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        std::mt19937 random(seed);
        const std::uint32_t size = 1 + random() % 200;
        CoverageBook book;
        Coverage coverage;
        std::vector<bool> bits(size);
        for (unsigned step = 0; step < 400; ++step) {
            const std::uint32_t begin = random() % size;
            const std::uint32_t length = 1 + random() % std::min(size - begin, 12U);
            const auto first = bits.begin() + begin;
            const bool overlaps = std::find(first, first + length, true) != first + length;
            ASSERT_EQ(book.add(coverage, begin, length), overlaps ? Added::overlaps : Added::ok)
                << seed << ": " << begin << "+" << length;
            if (!overlaps) std::fill(first, first + length, true);
            ASSERT_EQ(book.total(coverage), std::count(bits.begin(), bits.end(), true));
            ASSERT_EQ(coverage.front, std::find(bits.begin(), bits.end(), false) - bits.begin());
        }
    }
}

TEST(Coverage, TheBookHasAnEndAndIsWholeAfterRelease) {
    CoverageBook book;
    std::vector<Coverage> reads(2);
    for (unsigned round = 0; round < 3; ++round) {
        for (std::uint32_t run = 0; run < CoverageBook::runs_max; ++run)
            ASSERT_EQ(book.add(reads[run % 2], 2 * run + 2, 1), Added::ok);
        EXPECT_EQ(book.add(reads[0], 1'000'000, 1), Added::no_room);
        // What meets a run needs no room.
        EXPECT_EQ(book.add(reads[0], 3, 1), Added::ok);
        for (auto& read : reads)
            book.release(read);
        reads.assign(2, {});
    }
}

TEST(Coverage, RunsThatMeetGiveTheirRoomBack) {
    CoverageBook book;
    for (std::uint32_t read = 0; read < 3 * CoverageBook::runs_max; ++read) {
        Coverage coverage;
        // The last but one closes a gap between two runs, the last one the gap before them.
        for (const std::uint32_t at : {1U, 3U, 2U, 0U})
            ASSERT_EQ(book.add(coverage, at, 1), Added::ok) << read;
        ASSERT_EQ(coverage.front, 4U);
    }
}

}  // namespace
}  // namespace wnbd::nbd
