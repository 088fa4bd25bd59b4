// SPDX-License-Identifier: LGPL-2.1-or-later
// Blocks that say who wrote them, when, and where to: what a lost, misplaced, old or damaged block
// is told by.
#pragma once

#include <cstdint>
#include <span>

namespace wnbd::test {

struct Stamp {
    std::uint32_t writer = 0;
    std::uint64_t sequence = 0;  // from 1 on, growing with each write of this writer
    std::uint64_t block = 0;     // its number on the disk
};

/// Every byte of a block follows from its stamp and the seed, so all of them are checked.
/// Immutable.
class StampFormat {
  public:
    explicit StampFormat(std::uint64_t seed) noexcept : seed_(seed) {}

    /// `block`: a multiple of 8 bytes, at least 64.
    void fill(const Stamp& stamp, std::span<std::uint8_t> block) const noexcept;

    enum class Kind : std::uint8_t { zeroes, stamped, damaged };
    struct Seen {
        Kind kind = Kind::damaged;
        Stamp stamp{};  // when stamped
    };
    [[nodiscard]] Seen look_at(std::span<const std::uint8_t> block) const noexcept;

  private:
    std::uint64_t seed_;
};

}  // namespace wnbd::test
