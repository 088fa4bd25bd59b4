// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/write_guard.h"

#include <algorithm>

namespace wnbd::nbd {
namespace {

constexpr std::uint32_t window_mask = WriteGuard::granules - 1;

/// A range as runs of granules within the window, the lower one first. Everybody takes granules in
/// ascending order: so of those who refuse each other the one that is furthest up was refused by
/// somebody who is in to stay, and whose leave() is still to come.
struct Runs {
    std::uint32_t low_first = 0;
    std::uint32_t low_count = 0;
    std::uint32_t high_first = 0;
    std::uint32_t high_count = 0;  // not 0 only where the range runs over the window's end
};

Runs runs_of(std::uint64_t offset, std::uint64_t length) noexcept {
    if (length == 0) return {};
    if (length > WriteGuard::range_max) return {.low_count = WriteGuard::granules};
    const auto begin = offset / WriteGuard::granule;
    const auto last = (offset + (length - 1)) / WriteGuard::granule;
    const auto first = static_cast<std::uint32_t>(begin & window_mask);
    const auto count = static_cast<std::uint32_t>(last - begin + 1);
    if (first + count <= WriteGuard::granules) return {.low_first = first, .low_count = count};
    const auto above = WriteGuard::granules - first;
    return {.low_count = count - above, .high_first = first, .high_count = above};
}

/// The part of a run that lies in the word of its first granule.
struct Part {
    std::uint32_t count;
    std::uint64_t mask;
};

Part part_in_word(std::uint32_t first, std::uint32_t count) noexcept {
    const auto bit = first % 64;
    const auto here = std::min(count, 64 - bit);
    return {here, (~std::uint64_t{0} >> (64 - here)) << bit};
}

}  // namespace

bool WriteGuard::take(std::uint32_t word, std::uint64_t mask) noexcept {
    auto seen = words_[word].load();
    do {
        if ((seen & mask) != 0) return false;
    } while (!words_[word].compare_exchange_weak(seen, seen | mask));
    return true;
}

/// All of the run or nothing of it.
bool WriteGuard::take_run(std::uint32_t first, std::uint32_t count) noexcept {
    const auto end = first + count;
    for (auto at = first; at < end;) {
        const auto part = part_in_word(at, end - at);
        if (!take(at / 64, part.mask)) {
            drop_run(first, at - first);
            return false;
        }
        at += part.count;
    }
    return true;
}

void WriteGuard::drop_run(std::uint32_t first, std::uint32_t count) noexcept {
    const auto end = first + count;
    for (auto at = first; at < end;) {
        const auto part = part_in_word(at, end - at);
        words_[at / 64].fetch_and(~part.mask);
        at += part.count;
    }
}

bool WriteGuard::enter(std::uint64_t offset, std::uint64_t length) noexcept {
    const bool is_long = length > range_max;
    // Said before the attempt, so that nobody slips in after it has failed.
    if (is_long)
        long_waits_.store(true);
    else if (long_waits_.load())
        return false;
    const auto runs = runs_of(offset, length);
    if (!take_run(runs.low_first, runs.low_count)) return false;
    if (!take_run(runs.high_first, runs.high_count)) {
        drop_run(runs.low_first, runs.low_count);
        return false;
    }
    if (is_long) long_waits_.store(false);
    return true;
}

void WriteGuard::leave(std::uint64_t offset, std::uint64_t length) noexcept {
    const auto runs = runs_of(offset, length);
    drop_run(runs.low_first, runs.low_count);
    drop_run(runs.high_first, runs.high_count);
}

void WriteGuard::forget(std::uint64_t length) noexcept {
    // Another long range that waits says so again when it is tried next.
    if (length > range_max) long_waits_.store(false);
}

bool WriteGuard::empty() const noexcept {
    return !long_waits_.load() && std::all_of(words_.begin(), words_.end(),
                                              [](const auto& word) { return word.load() == 0; });
}

}  // namespace wnbd::nbd
