// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace wnbd::client {
namespace {

struct Decoded {
    std::uint32_t code_point = 0xFFFD;
    std::size_t length = 1;  // bytes used
};

/// One code point from the front of `text` (RFC 3629): shortest form only, no surrogates.
Decoded decode_utf8(std::string_view text) {
    const auto byte = [text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const std::uint8_t first = byte(0);
    if (first < 0x80) return {first, 1};
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) return {};
    std::uint32_t value = first & (0xFFU >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80U) return {};
        value = (value << 6) | (byte(i) & 0x3FU);
    }
    constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
    if (value < smallest[length] || value > 0x10FFFF || surrogate) return {};
    return {value, length};
}

}  // namespace

std::string in_quotes(std::string_view text) {
    constexpr std::size_t longest = 80;
    std::size_t length = text.size();
    if (length > longest) {
        length = longest;
        while (length > 0 && (static_cast<std::uint8_t>(text[length]) & 0xC0U) == 0x80U)
            --length;
    }
    return "'" + std::string(text.substr(0, length)) + (length < text.size() ? "...'" : "'");
}

std::string padded(std::string_view text, std::size_t width) {
    std::string result(text);
    if (result.size() < width) result.resize(width, ' ');
    return result;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t width) {
    std::vector<std::string> lines;
    std::string line;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        const std::string_view word = text.substr(0, end);
        if (!line.empty() && line.size() + 1 + word.size() > width) {
            lines.push_back(std::exchange(line, {}));
        }
        if (!line.empty()) line += ' ';
        line += word;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    lines.push_back(line);
    return lines;
}

std::string bounded_text(std::span<const char> array) {
    return {array.begin(), std::ranges::find(array, '\0')};
}

std::vector<std::uint16_t> utf16_from_utf8(std::string_view text) {
    std::vector<std::uint16_t> units;
    while (!text.empty()) {
        const Decoded decoded = decode_utf8(text);
        if (decoded.code_point >= 0x10000) {
            const std::uint32_t rest = decoded.code_point - 0x10000;
            units.push_back(static_cast<std::uint16_t>(0xD800 + (rest >> 10)));
            units.push_back(static_cast<std::uint16_t>(0xDC00 + (rest & 0x3FF)));
        } else {
            units.push_back(static_cast<std::uint16_t>(decoded.code_point));
        }
        text.remove_prefix(decoded.length);
    }
    return units;
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t maximum) {
    std::uint64_t value = 0;
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error != std::errc{} || stop != end || value > maximum) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    unsigned shift = 0;
    if (!text.empty()) {
        constexpr std::string_view suffixes = "KkMmGgTt";
        const std::size_t found = suffixes.find(text.back());
        if (found != std::string_view::npos) {
            shift = 10 * (static_cast<unsigned>(found) / 2 + 1);
            text.remove_suffix(1);
        }
    }
    constexpr std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
    const auto value = parse_number(text, largest >> shift);
    if (!value) return std::nullopt;
    return *value << shift;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
    const auto put = [&text](std::uint32_t byte) { text += static_cast<char>(byte); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xC0 | (code_point >> 6));
        put(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        put(0xE0 | (code_point >> 12));
        put(0x80 | ((code_point >> 6) & 0x3F));
        put(0x80 | (code_point & 0x3F));
    } else {
        put(0xF0 | (code_point >> 18));
        put(0x80 | ((code_point >> 12) & 0x3F));
        put(0x80 | ((code_point >> 6) & 0x3F));
        put(0x80 | (code_point & 0x3F));
    }
}

}  // namespace wnbd::client
