// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/write_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace wnbd::nbd {
namespace {

constexpr std::uint64_t window = std::uint64_t{WriteGuard::granule} * WriteGuard::granules;
constexpr std::uint64_t longest = WriteGuard::range_max;

class Guard : public ::testing::Test {
  protected:
    [[nodiscard]] bool enter(std::uint64_t offset, std::uint64_t length) {
        return guard_->enter(offset, length);
    }
    void leave(std::uint64_t offset, std::uint64_t length) { guard_->leave(offset, length); }

    std::unique_ptr<WriteGuard> guard_ = std::make_unique<WriteGuard>();
};

TEST_F(Guard, keeps_overlapping_ranges_apart) {
    EXPECT_TRUE(enter(4096, 4096));
    EXPECT_FALSE(enter(4096, 4096));
    EXPECT_FALSE(enter(0, 4608));
    EXPECT_FALSE(enter(8191, 1));
    EXPECT_TRUE(enter(0, 4096));
    EXPECT_TRUE(enter(8192, 4096));
    leave(4096, 4096);
    EXPECT_TRUE(enter(4096, 1));
    EXPECT_FALSE(enter(4607, 1));
    EXPECT_TRUE(enter(4608, 3584));
}

TEST_F(Guard, counts_bytes_outwards_to_whole_granules) {
    EXPECT_TRUE(enter(511, 2));
    EXPECT_FALSE(enter(0, 1));
    EXPECT_FALSE(enter(1023, 1));
    EXPECT_TRUE(enter(1024, 1));
}

TEST_F(Guard, a_refusal_leaves_nothing_behind) {
    EXPECT_TRUE(enter(1 << 20, 512));
    EXPECT_FALSE(enter(524'288, 1 << 20));
    EXPECT_TRUE(enter(524'288, 524'288));
    leave(524'288, 524'288);
    leave(1 << 20, 512);
    EXPECT_TRUE(guard_->empty());
}

TEST_F(Guard, an_empty_range_overlaps_nothing) {
    EXPECT_TRUE(enter(0, 4096));
    EXPECT_TRUE(enter(512, 0));
    leave(512, 0);
    EXPECT_FALSE(enter(512, 1));
}

TEST_F(Guard, ranges_over_the_windows_end_are_whole) {
    EXPECT_TRUE(enter(window - 4096, 8192));
    EXPECT_FALSE(enter(window + 4095, 1));
    EXPECT_FALSE(enter(0, 512));
    EXPECT_FALSE(enter(3 * window - 512, 512));
    EXPECT_TRUE(enter(4096, 512));
    leave(window - 4096, 8192);
    EXPECT_FALSE(enter(window - longest / 2, longest));
    leave(4096, 512);
    EXPECT_TRUE(enter(window - longest / 2, longest));
    leave(window - longest / 2, longest);
    EXPECT_TRUE(guard_->empty());
}

TEST_F(Guard, the_highest_offsets_are_ranges_like_others) {
    const auto end = std::uint64_t{1} << 63;
    EXPECT_TRUE(enter(end - 4096, 4095));
    EXPECT_FALSE(enter(end - 2, 1));
    leave(end - 4096, 4095);
    EXPECT_TRUE(guard_->empty());
}

TEST_F(Guard, a_long_range_is_alone) {
    EXPECT_TRUE(enter(0, longest + 1));
    EXPECT_FALSE(enter(window / 2, 512));
    EXPECT_FALSE(enter(window / 2, 1ULL << 40));
    leave(0, longest + 1);
    // The second long one was refused, and comes first now.
    EXPECT_FALSE(enter(window / 2, 512));
    EXPECT_TRUE(enter(window / 2, 1ULL << 40));
    leave(window / 2, 1ULL << 40);
    EXPECT_TRUE(guard_->empty());
}

TEST_F(Guard, a_long_range_that_waits_keeps_newcomers_out) {
    EXPECT_TRUE(enter(0, 512));
    EXPECT_TRUE(enter(4096, 512));
    EXPECT_FALSE(enter(1 << 30, 1 << 30));
    EXPECT_FALSE(enter(8192, 512));
    leave(0, 512);
    EXPECT_FALSE(enter(1 << 30, 1 << 30));
    EXPECT_FALSE(enter(0, 512));
    leave(4096, 512);
    EXPECT_TRUE(enter(1 << 30, 1 << 30));
    leave(1 << 30, 1 << 30);
    EXPECT_TRUE(enter(8192, 512));
}

TEST_F(Guard, a_long_range_that_gives_up_lets_them_in_again) {
    EXPECT_TRUE(enter(0, 512));
    EXPECT_FALSE(enter(0, 1 << 30));
    guard_->forget(512);
    EXPECT_FALSE(enter(8192, 512));
    guard_->forget(1 << 30);
    EXPECT_TRUE(enter(8192, 512));
}

/// Counts who is on each granule; two at once are an overlap.
class Field {
  public:
    void enter(std::uint64_t granule, std::uint64_t count) {
        for (auto i = granule; i < granule + count; ++i)
            if (cells_[i]++ != 0) ++overlaps_;
    }
    void leave(std::uint64_t granule, std::uint64_t count) {
        for (auto i = granule; i < granule + count; ++i)
            --cells_[i];
    }
    [[nodiscard]] std::uint64_t overlaps() const { return overlaps_; }

    static constexpr std::uint64_t granules = 4096;

  private:
    // Plain on purpose: whoever is in alone may touch them, and a thread sanitizer checks it.
    std::array<int, granules> cells_{};
    std::atomic<std::uint64_t> overlaps_{0};
};

// Around the window's end, so that ranges wrap; some are long and have everything to themselves.
TEST_F(Guard, holds_between_threads_and_lets_all_through) {
    constexpr std::uint64_t base = window - Field::granules / 2 * WriteGuard::granule;
    Field field;
    std::array<unsigned, 4> long_ones{};
    const auto work = [&](unsigned number) {
        std::mt19937 random(number);
        for (int i = 0; i < 3'000; ++i) {
            if (random() % 128 == 0) {
                const auto length = longest + 1 + random() % longest;
                while (!guard_->enter(base, length))
                    std::this_thread::yield();
                field.enter(0, Field::granules);
                field.leave(0, Field::granules);
                guard_->leave(base, length);
                ++long_ones[number];
                continue;
            }
            const auto first = random() % Field::granules;
            const auto count = 1 + random() % std::min<std::uint64_t>(Field::granules - first, 300);
            while (!guard_->enter(base + first * 512, count * 512))
                std::this_thread::yield();
            field.enter(first, count);
            field.leave(first, count);
            guard_->leave(base + first * 512, count * 512);
        }
    };
    std::vector<std::thread> threads;
    threads.reserve(long_ones.size());
    for (unsigned number = 0; number < long_ones.size(); ++number)
        threads.emplace_back(work, number);
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(field.overlaps(), 0U);
    EXPECT_TRUE(guard_->empty());
    for (const auto count : long_ones)
        EXPECT_GT(count, 0U);
}

}  // namespace
}  // namespace wnbd::nbd
