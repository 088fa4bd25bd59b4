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
///
/// What waits is the caller's: after each leave(), *and after each enter() that was refused*, it
/// must look through the waiting ones once more, with its own among them. A refused enter() has
/// held a part of its range for a moment, and another may have been refused because of that alone.
/// All operations are sequentially consistent: who waits may be told by a counter that is atomic so
/// too, instead of a lock.
class WriteGuard {
  public:
    static constexpr std::uint32_t granule = 512;  // bytes
    static constexpr std::uint32_t granules = 1 << 20;
    /// Longer ranges are entered alone: they take the whole window.
    static constexpr std::uint64_t range_max = 32ULL << 20;  // bytes

    /// True: the range is the caller's until leave(). False: it overlaps another's; nothing
    /// changed. But a long range that was refused keeps newcomers out until one has entered, so
    /// that it gets its turn; whoever gives it up instead says forget(). An empty range overlaps
    /// nothing.
    [[nodiscard]] bool enter(std::uint64_t offset, std::uint64_t length) noexcept;
    void leave(std::uint64_t offset, std::uint64_t length) noexcept;
    /// A range that was refused will not be tried again. Then, too, look at who waits.
    void forget(std::uint64_t length) noexcept;
    /// For tests: nobody is in and nobody is kept out.
    [[nodiscard]] bool empty() const noexcept;

  private:
    static constexpr std::uint32_t words = granules / 64;

    [[nodiscard]] bool take(std::uint32_t word, std::uint64_t mask) noexcept;
    [[nodiscard]] bool take_run(std::uint32_t first, std::uint32_t count) noexcept;
    void drop_run(std::uint32_t first, std::uint32_t count) noexcept;

    std::array<std::atomic<std::uint64_t>, words> words_{};  // a bit for each granule that is taken
    // Only for fairness, the bits alone exclude. Hardly ever written: on a line of its own.
    alignas(64) std::atomic<bool> long_waits_{false};
};

}  // namespace wnbd::nbd
