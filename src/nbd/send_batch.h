// SPDX-License-Identifier: LGPL-2.1-or-later
// Many requests as one gather list, so that one system call sends them all, payloads in place.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "nbd/io_slice.h"
#include "nbd/request_table.h"

namespace wnbd::nbd {

/// Belongs to whoever is sending; not thread-safe.
class SendBatch {
  public:
    static constexpr std::size_t max_requests = 128;

    [[nodiscard]] bool empty() const noexcept { return first_ == last_; }

    /// Arms queued requests and lists their bytes. Call on an empty batch, as the table's owner.
    void fill(RequestTable& table) noexcept;

    /// What is still to be sent. Valid until the next call.
    [[nodiscard]] std::span<const IoSlice> slices() const noexcept {
        return std::span(slices_).subspan(first_, last_ - first_);
    }

    /// Takes `count` sent bytes off and calls `handed_over(Slot&)` for each write whose whole
    /// payload is now out of our hands.
    template <typename HandedOver>
    void advance(std::size_t count, HandedOver&& handed_over) noexcept {
        while (first_ < last_ && count >= slices_[first_].size) {
            count -= slices_[first_].size;
            Slot* const writer = writers_[first_++];
            if (writer != nullptr) handed_over(*writer);
        }
        if (first_ == last_) return;
        slices_[first_].data += count;
        slices_[first_].size -= count;
    }

    void abandon() noexcept { first_ = last_ = 0; }

  private:
    std::array<std::uint8_t, max_requests * extended_request_size> headers_;
    std::array<IoSlice, 2 * max_requests> slices_;
    std::array<Slot*, 2 * max_requests> writers_;  // beside slices_: whose payload it is
    std::size_t first_ = 0;
    std::size_t last_ = 0;
};

}  // namespace wnbd::nbd
