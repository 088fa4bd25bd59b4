// SPDX-License-Identifier: LGPL-2.1-or-later
// Keeps changes of the same bytes from being in flight at the same time. So whatever is replayed
// after a reconnect overlaps nothing that was acknowledged after it was first sent: an older write
// can't come to lie over a newer one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace wnbd::nbd {

/// A bit for each 512 bytes of a window of 512 MiB that repeats over the disk; entering is one
/// atomic operation per 32 KiB, without a lock. Two ranges that are a multiple of the window apart
/// are taken for overlapping, which costs a wait and nothing else. Thread-safe.
class WriteGuard {
  public:
    static constexpr std::uint32_t granule = 512;  // bytes
    static constexpr std::uint32_t granules = 1 << 20;
    /// Longer ranges are entered alone: all others leave first, none enters meanwhile.
    static constexpr std::uint64_t range_max = 32ULL << 20;  // bytes

    /// True: the range is the caller's until leave(). False: it overlaps another's; nothing
    /// changed.
    [[nodiscard]] bool enter(std::uint64_t offset, std::uint64_t length) noexcept;
    void leave(std::uint64_t offset, std::uint64_t length) noexcept;
    /// For tests: nobody is in.
    [[nodiscard]] bool empty() const noexcept;

  private:
    std::array<std::atomic<std::uint64_t>, granules / 64> words_{};
    /// Ranges that are in, with the top bit set while a long one is in or asks to be.
    std::atomic<std::uint64_t> inside_{0};
};

}  // namespace wnbd::nbd
