// SPDX-License-Identifier: LGPL-2.1-or-later
// The answer to GET LBA STATUS, made while it is found out what the blocks are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace wnbd::scsi {

/// Parameter data of GET LBA STATUS (SBC-3 5.6.2): as many descriptors as the room holds, each of
/// as many blocks of one kind as it counts. The initiator asks again from where they end. A value,
/// not thread-safe.
class LbaStatus {
  public:
    LbaStatus() noexcept = default;
    /// `room`: where data-in may go, which truncates. Blocks `first` to `end` exclusive, at least
    /// one.
    LbaStatus(std::span<std::uint8_t> room, std::uint64_t first, std::uint64_t end) noexcept;

    /// The first block of which nothing is known yet.
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
    [[nodiscard]] std::uint64_t end() const noexcept { return end_; }
    /// True when there is nothing left to be found out: no room, or no blocks.
    [[nodiscard]] bool complete() const noexcept { return full_ || next_ == end_; }
    /// The most descriptors that are of use.
    [[nodiscard]] std::size_t descriptors_max() const noexcept;

    /// What is so of the blocks from next() to `until` exclusive, which is cut at end(). Who does
    /// not know says mapped: the status is "mapped or unknown".
    void add(std::uint64_t until, bool mapped) noexcept;

    /// Ends it; something has been added. The bytes that are in the room.
    [[nodiscard]] std::size_t finish() noexcept;

  private:
    void write_run() noexcept;

    std::span<std::uint8_t> room_;
    std::uint64_t run_ = 0;   // where the run begins that is not written yet
    std::uint64_t next_ = 0;  // and where it ends
    std::uint64_t end_ = 0;
    std::size_t written_ = 0;  // descriptors
    bool mapped_ = true;       // the run's
    bool full_ = false;
};

}  // namespace wnbd::scsi
