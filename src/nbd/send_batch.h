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
    /// From this size on a payload begins a call of its own, which makes large writes a little
    /// faster; smaller ones it would slow down (docs/nbd-performance.md).
    static constexpr std::size_t large_payload = 1U << 20;  // bytes

    [[nodiscard]] bool empty() const noexcept { return first_ == last_; }

    /// Arms queued requests and lists their bytes. Call on an empty batch, as the table's owner.
    void fill(RequestTable& table) noexcept;

    /// What is to be sent next. Valid until the next call of advance() or fill().
    [[nodiscard]] std::span<const IoSlice> slices() const noexcept {
        return std::span(slices_).subspan(first_, until_ - first_);
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
        if (first_ == until_) find_until();
        if (first_ == last_) return;
        slices_[first_].data += count;
        slices_[first_].size -= count;
    }

    void abandon() noexcept { first_ = until_ = last_ = 0; }

  private:
    void list(RequestTable& table) noexcept;
    [[nodiscard]] bool large(std::size_t i) const noexcept {
        return writers_[i] != nullptr && slices_[i].size >= large_payload;
    }
    void find_until() noexcept {
        until_ = first_;
        while (until_ < last_ && (until_ == first_ || !large(until_)))
            ++until_;
    }

    std::array<std::uint8_t, max_requests * extended_request_size> headers_;
    std::array<IoSlice, 2 * max_requests> slices_;
    std::array<Slot*, 2 * max_requests> writers_;  // beside slices_: whose payload it is
    std::size_t first_ = 0;
    std::size_t until_ = 0;  // the present call's end
    std::size_t last_ = 0;
};

}  // namespace wnbd::nbd
