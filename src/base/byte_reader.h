// SPDX-License-Identifier: LGPL-2.1-or-later
// A bounds-checked cursor over received bytes: a read past the end fails, and every later read too.
#pragma once

#include <cstdint>
#include <span>

#include "base/big_endian.h"

namespace wnbd {

class ByteReader {
  public:
    explicit constexpr ByteReader(std::span<const std::uint8_t> bytes) noexcept : bytes_(bytes) {}

    /// Reads a big-endian integer; 0 when too few bytes are left, and ok() is false from then on.
    template <typename T>
    [[nodiscard]] constexpr T big_endian() noexcept {
        const auto field = take(sizeof(T));
        return field.empty() ? T{} : load_big_endian<T>(field.data());
    }

    /// The next `count` bytes, or an empty span when too few are left.
    [[nodiscard]] constexpr std::span<const std::uint8_t> take(std::size_t count) noexcept {
        if (!ok_ || count > remaining()) {
            ok_ = false;
            return {};
        }
        const auto field = bytes_.subspan(position_, count);
        position_ += count;
        return field;
    }

    [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }
    [[nodiscard]] constexpr std::size_t remaining() const noexcept {
        return bytes_.size() - position_;
    }

  private:
    std::span<const std::uint8_t> bytes_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

}  // namespace wnbd
