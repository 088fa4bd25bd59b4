// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether bytes are UTF-8, and text for messages.
#pragma once

#include <string>
#include <string_view>

namespace wnbd::nbd {

/// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) noexcept {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    for (std::size_t i = 0; i < text.size();) {
        const unsigned first = byte(i);
        if (first < 0x80) {
            ++i;
            continue;
        }
        const unsigned more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || text.size() - i <= more) return false;
        // The second byte rules out what is overlong, a surrogate or too large.
        const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (byte(i + 1) < low || byte(i + 1) > high) return false;
        for (unsigned j = 2; j <= more; ++j)
            if (byte(i + j) < 0x80 || byte(i + j) > 0xBF) return false;
        i += more + 1;
    }
    return true;
}

/// For a message of one line: control characters (the second half of them, too, which terminals
/// obey), and in text that is no UTF-8 all but ASCII, become '?'.
[[nodiscard]] inline std::string in_one_line(std::string_view text) {
    std::string clean(text);
    const bool keeps_high = is_utf8(text);
    unsigned char before = 0;
    for (std::size_t i = 0; i < clean.size(); ++i) {
        const auto byte = static_cast<unsigned char>(clean[i]);
        const bool second_half = before == 0xC2 && byte >= 0x80 && byte < 0xA0;
        if (second_half) clean[i - 1] = '?';
        if (byte < 0x20 || byte == 0x7F || second_half || (byte > 0x7F && !keeps_high))
            clean[i] = '?';
        before = byte;
    }
    return clean;
}

}  // namespace wnbd::nbd
