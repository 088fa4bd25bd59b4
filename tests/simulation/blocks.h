// SPDX-License-Identifier: LGPL-2.1-or-later
// Blocks that say themselves who wrote them, when and where; and which places of a large disk a
// simulation looks at.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/big_endian.h"

namespace wnbd::nbd::sim {

constexpr std::uint32_t block_size = 512;

/// Fills one block: the writer's sequence number and the address in each of its words.
inline void fill_block(std::uint8_t* to, std::uint64_t sequence, std::uint64_t lba) {
    std::uint64_t word = sequence;
    for (std::uint32_t at = 0; at < block_size; at += 8) {
        store_big_endian(to + at, word);
        word = (word ^ lba) * 0x9e3779b97f4a7c15 + 1;
    }
}

/// Whose block it is; 0: all zeroes; nothing: it is no whole block of this address.
inline std::optional<std::uint64_t> writer_of(const std::uint8_t* from, std::uint64_t lba) {
    const auto sequence = load_big_endian<std::uint64_t>(from);
    std::uint64_t word = sequence;
    for (std::uint32_t at = 0; at < block_size; at += 8) {
        if (load_big_endian<std::uint64_t>(from + at) != word) return std::nullopt;
        if (sequence != 0) word = (word ^ lba) * 0x9e3779b97f4a7c15 + 1;
    }
    return sequence;
}

/// A run of neighbouring blocks.
struct Blocks {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    [[nodiscard]] std::uint64_t end() const noexcept { return first + count; }
};

/// The disk is large, so that ranges beyond 32 bits, beyond the guard's window and beyond one wire
/// request happen; but reads and writes stay in these places, and only they are kept.
constexpr std::uint64_t mebi = (1U << 20) / block_size;
constexpr std::uint64_t disk_blocks = 5 * 1024 * mebi;
constexpr std::array<Blocks, 4> places = {{
    {0, 512},                // room for large requests
    {512 * mebi - 16, 48},   // over the window's end, and beside the first by the window
    {1024 * mebi - 16, 32},  // over the end of the largest piece of a trim
    {disk_blocks - 64, 64},  // the end
}};

constexpr std::uint32_t kept_blocks = [] {
    std::uint32_t sum = 0;
    for (const auto& place : places)
        sum += static_cast<std::uint32_t>(place.count);
    return sum;
}();

/// Calls `visit(lba, index)` for each kept block of the range.
template <typename Visit>
void for_kept(const Blocks& range, Visit&& visit) {
    std::uint32_t base = 0;
    for (const auto& place : places) {
        const auto from = std::max(range.first, place.first);
        const auto to = std::min(range.end(), place.end());
        for (auto lba = from; lba < to; ++lba)
            visit(lba, base + static_cast<std::uint32_t>(lba - place.first));
        base += static_cast<std::uint32_t>(place.count);
    }
}

}  // namespace wnbd::nbd::sim
