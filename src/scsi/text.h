// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to src/scsi: the text fields of INQUIRY data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_writer.h"

namespace wnbd::scsi {

/// The text in an array that should be NUL-terminated, but need not be.
template <std::size_t size>
[[nodiscard]] constexpr std::span<const char> bounded_text(const char (&array)[size]) noexcept {
    std::size_t length = 0;
    while (length < size && array[length] != '\0')
        ++length;
    return std::span<const char>(array).first(length);
}

/// A fixed ASCII field, left-aligned and padded with spaces (SPC-4 4.3.1). What is no graphic ASCII
/// character becomes a question mark.
constexpr void write_ascii_field(ByteWriter& out, std::span<const char> text,
                                 std::size_t width) noexcept {
    for (std::size_t i = 0; i < width; ++i) {
        const char character = i < text.size() ? text[i] : ' ';
        const bool graphic = character >= 0x20 && character <= 0x7E;
        out.byte(graphic ? static_cast<std::uint8_t>(character) : '?');
    }
}

}  // namespace wnbd::scsi
