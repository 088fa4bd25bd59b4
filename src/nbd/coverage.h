// SPDX-License-Identifier: LGPL-2.1-or-later
// Which bytes of a read have come, when they come in chunks and in any order.
#pragma once

#include <array>
#include <cstdint>

namespace wnbd::nbd {

/// What of one read has come. An empty one holds nothing of the book.
struct Coverage {
    static constexpr std::uint32_t none = 0xffffffff;

    std::uint32_t front = 0;     // bytes from the beginning without a gap
    std::uint32_t first = none;  // of the runs beyond the first gap, in the book
};

/// Exact for whatever order the chunks have: a run of bytes is taken down once, or refused. Chunks
/// in ascending order, as servers send them, need no more than `front`. Not thread-safe.
class CoverageBook {
  public:
    /// Runs between gaps, of all reads of a connection together. Nothing is allocated later.
    static constexpr std::uint32_t runs_max = 1024;

    CoverageBook() noexcept { clear(); }

    enum class Added : std::uint8_t { ok, overlaps, no_room };
    /// `length` is at least 1, and `begin + length` does not overflow.
    [[nodiscard]] Added add(Coverage& coverage, std::uint32_t begin, std::uint32_t length) noexcept;
    /// Bytes that have come.
    [[nodiscard]] std::uint32_t total(const Coverage& coverage) const noexcept;
    void release(Coverage& coverage) noexcept;
    /// Forgets everything; no coverage may be used any more.
    void clear() noexcept;

  private:
    struct Run {
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        std::uint32_t next = Coverage::none;
    };

    Added add_beyond(Coverage& coverage, std::uint32_t begin, std::uint32_t end) noexcept;
    void absorb(std::uint32_t& link, std::uint32_t& end) noexcept;

    std::array<Run, runs_max> runs_;
    std::uint32_t free_ = Coverage::none;
};

}  // namespace wnbd::nbd
