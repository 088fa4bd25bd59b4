// SPDX-License-Identifier: LGPL-2.1-or-later
// Many PDUs as one gather list: headers side by side in memory of the batch's own, data where it
// lies.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "iscsi/command_slot.h"

namespace wnbd::iscsi {

struct SendSlice {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

/// Filled while it is empty, then sent. One thread at a time.
class SendBatch {
  public:
    static constexpr std::size_t bytes_max = 32U << 10;
    static constexpr std::size_t slices_max = 256;
    /// Data up to this is copied: cheaper than a slice.
    static constexpr std::size_t copied_max = 512;
    /// What one PDU may take at most: header, digests, padding, copied data.
    static constexpr std::size_t pdu_bytes_max = 64 + copied_max;
    static constexpr std::size_t pdu_slices_max = 3;

    [[nodiscard]] bool empty() const noexcept { return first_ == last_; }
    /// True while another PDU fits for certain.
    [[nodiscard]] bool has_room() const noexcept {
        return used_ + pdu_bytes_max <= bytes_max && last_ + pdu_slices_max <= slices_max;
    }

    /// Copied, and joined to what was copied before.
    void add_bytes(std::span<const std::uint8_t> bytes) noexcept {
        std::uint8_t* const to = bytes_.data() + used_;
        std::memcpy(to, bytes.data(), bytes.size());
        used_ += bytes.size();
        if (last_ > first_ && slices_[last_ - 1].data + slices_[last_ - 1].size == to &&
            owners_[last_ - 1] == nullptr && copied_tail_) {
            slices_[last_ - 1].size += bytes.size();
            return;
        }
        owners_[last_] = nullptr;
        slices_[last_++] = {to, bytes.size()};
        copied_tail_ = true;
    }
    /// Stays where it is; when the slice is sent, so is `owner` (nullptr: it isn't yet).
    void add_data(std::span<const std::uint8_t> data, Output* owner) noexcept {
        owners_[last_] = owner;
        slices_[last_++] = {data.data(), data.size()};
        copied_tail_ = false;
    }

    /// What was added last has an owner, too.
    void own_last(Output& owner) noexcept { owners_[last_ - 1] = &owner; }

    /// What is still to be sent.
    [[nodiscard]] std::span<const SendSlice> slices() const noexcept {
        return std::span(slices_).subspan(first_, last_ - first_);
    }
    /// Takes `count` sent bytes off and calls `done(Output&)` for each owner whose data is out.
    template <typename Done>
    void advance(std::size_t count, Done&& done) noexcept {
        while (first_ < last_ && count >= slices_[first_].size) {
            count -= slices_[first_].size;
            Output* const owner = owners_[first_++];
            if (owner != nullptr) done(*owner);
        }
        if (first_ == last_) {
            first_ = last_ = used_ = 0;
            return;
        }
        slices_[first_].data += count;
        slices_[first_].size -= count;
    }
    /// Nothing of it will be sent any more.
    template <typename Done>
    void abandon(Done&& done) noexcept {
        for (; first_ < last_; ++first_)
            if (owners_[first_] != nullptr) done(*owners_[first_]);
        first_ = last_ = used_ = 0;
    }

  private:
    std::array<std::uint8_t, bytes_max> bytes_;
    std::array<SendSlice, slices_max> slices_;
    std::array<Output*, slices_max> owners_;  // beside slices_
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    std::size_t used_ = 0;  // of bytes_
    bool copied_tail_ = false;
};

}  // namespace wnbd::iscsi
