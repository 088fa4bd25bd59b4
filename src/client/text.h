// SPDX-License-Identifier: LGPL-2.1-or-later
// Text helpers of the client: columns, wrapping, numbers, and the strings of the ABI's structures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wnbd::client {

/// `text` followed by spaces up to `width` bytes; never shortened.
[[nodiscard]] std::string padded(std::string_view text, std::size_t width);

/// Breaks at spaces so that no line is longer than `width`; a longer word gets a line of its own.
/// At least one line, possibly empty.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t width);

/// A fixed array's text: up to its first NUL, or all of it when there is none.
[[nodiscard]] std::string bounded_text(std::span<const char> array);

/// `text` between single quotes, for messages; of more than 80 bytes only the beginning and "...",
/// cut between characters.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// UTF-16 up to the first NUL as UTF-8; a lone surrogate becomes U+FFFD. `Unit` is any 16-bit type.
template <typename Unit>
[[nodiscard]] std::string utf8_from_utf16(std::span<const Unit> array);

/// UTF-8 as UTF-16 code units without a terminator; a malformed byte becomes U+FFFD.
[[nodiscard]] std::vector<std::uint16_t> utf16_from_utf8(std::string_view text);

/// A decimal number, nothing before or after it. Empty when it is none or above `maximum`.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text,
                                                        std::uint64_t maximum);

/// A decimal number with an optional suffix K, M, G or T (either case; powers of 1024). Empty when
/// it is none or does not fit 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

/// For utf8_from_utf16 alone.
void append_utf8(std::string& text, std::uint32_t code_point);

template <typename Unit>
std::string utf8_from_utf16(std::span<const Unit> array) {
    static_assert(sizeof(Unit) == 2);
    std::string text;
    for (std::size_t i = 0; i < array.size() && array[i] != 0; ++i) {
        const std::uint32_t unit = static_cast<std::uint16_t>(array[i]);
        const bool high = unit >= 0xD800 && unit <= 0xDBFF;
        const std::uint32_t next =
            i + 1 < array.size() ? static_cast<std::uint16_t>(array[i + 1]) : 0U;
        if (high && next >= 0xDC00 && next <= 0xDFFF) {
            append_utf8(text, 0x10000 + ((unit - 0xD800) << 10) + (next - 0xDC00));
            ++i;
        } else if (unit >= 0xD800 && unit <= 0xDFFF) {
            append_utf8(text, 0xFFFD);
        } else {
            append_utf8(text, unit);
        }
    }
    return text;
}

}  // namespace wnbd::client
