// SPDX-License-Identifier: LGPL-2.1-or-later
// A cursor that builds wire data in a caller's buffer and truncates at its end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/big_endian.h"

namespace wnbd {

/// Counts everything that is written, keeps what fits: just what a SCSI allocation length asks for.
class ByteWriter {
  public:
    explicit constexpr ByteWriter(std::span<std::uint8_t> room) noexcept : room_(room) {}

    constexpr void byte(std::uint8_t value) noexcept {
        if (length_ < room_.size()) room_[length_] = value;
        ++length_;
    }

    template <typename T>
    constexpr void big_endian(T value) noexcept {
        std::uint8_t field[sizeof(T)]{};
        store_big_endian<T>(field, value);
        bytes(field);
    }

    constexpr void bytes(std::span<const std::uint8_t> values) noexcept {
        for (const auto value : values)
            byte(value);
    }

    constexpr void fill(std::size_t count, std::uint8_t value = 0) noexcept {
        for (; count > 0; --count)
            byte(value);
    }

    /// Everything that was written, also what did not fit.
    [[nodiscard]] constexpr std::size_t length() const noexcept { return length_; }
    /// What is in the buffer.
    [[nodiscard]] constexpr std::size_t stored() const noexcept {
        return std::min(length_, room_.size());
    }
    [[nodiscard]] constexpr bool truncated() const noexcept { return length_ > room_.size(); }

  private:
    std::span<std::uint8_t> room_;
    std::size_t length_ = 0;
};

}  // namespace wnbd
