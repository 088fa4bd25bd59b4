// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/text.h"

#include <algorithm>
#include <cstdio>

namespace wnbd::iscsi {
namespace {

constexpr std::size_t key_length_max = 63;
constexpr std::size_t name_length_max = 223;
constexpr std::size_t shown_max = 80;

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
/// 16 for what is no digit.
constexpr unsigned hex_digit(char c) noexcept {
    if (is_digit(c)) return static_cast<unsigned>(c - '0');
    const char small = lower(c);
    return small >= 'a' && small <= 'f' ? static_cast<unsigned>(small - 'a') + 10 : 16;
}
/// 64 for what is no digit.
constexpr unsigned base64_digit(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return static_cast<unsigned>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<unsigned>(c - 'a') + 26;
    if (is_digit(c)) return static_cast<unsigned>(c - '0') + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : 64;
}
constexpr bool is_control(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}
bool has_prefix(std::string_view value, char letter) noexcept {
    return value.size() > 2 && value[0] == '0' && lower(value[1]) == letter;
}
bool is_hex(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return hex_digit(c) < 16; });
}

/// Whether a text is of letters, digits and these.
bool is_of(std::string_view text, std::string_view others) noexcept {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return is_letter(c) || is_digit(c) || others.find(c) != others.npos;
    });
}

bool is_key(std::string_view key) noexcept {
    // The number sign as in X#NodeArchitecture.
    return !key.empty() && key.size() <= key_length_max && is_of(key, ".-+@_#");
}

std::vector<std::uint8_t> parse_hex(std::string_view digits) {
    std::vector<std::uint8_t> bytes((digits.size() + 1) / 2);
    // An odd number of digits lacks a leading zero.
    for (std::size_t i = 0, at = digits.size() % 2; i < digits.size(); ++i, ++at)
        bytes[at / 2] = static_cast<std::uint8_t>((bytes[at / 2] << 4) | hex_digit(digits[i]));
    return bytes;
}

std::optional<std::vector<std::uint8_t>> parse_base64(std::string_view digits) {
    if (digits.size() % 4 != 0) return {};
    std::size_t filling = 0;
    for (; filling < 2 && digits.ends_with('='); ++filling)
        digits.remove_suffix(1);
    std::vector<std::uint8_t> bytes;
    bytes.reserve(digits.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : digits) {
        const auto digit = base64_digit(c);
        if (digit > 63) return {};
        bits = (bits << 6) | digit;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes.push_back(static_cast<std::uint8_t>(bits >> count));
    }
    return bytes;
}

}  // namespace

std::string printable(std::string_view text) {
    std::string shown;
    for (const char c : text) {
        if (shown.size() >= shown_max) return shown + "...";
        if (is_control(c) || (static_cast<unsigned char>(c) & 0x80) != 0) {
            char code[5];
            std::snprintf(code, sizeof(code), "\\x%02x", static_cast<unsigned char>(c));
            shown += code;
        } else {
            shown += c;
        }
    }
    return shown;
}

bool TextInput::append(std::span<const std::uint8_t> data) {
    if (data.size() > text_limit - text_.size()) return false;
    text_.append(data.begin(), data.end());
    return true;
}

std::optional<TextPair> TextReader::next() {
    if (!fault_.empty()) return {};
    // Padding that a sender has counted as text is forgiven, and so is a last NUL it has left out.
    rest_.remove_prefix(std::min(rest_.find_first_not_of('\0'), rest_.size()));
    if (rest_.empty()) return {};
    const auto pair = rest_.substr(0, rest_.find('\0'));
    rest_.remove_prefix(pair.size());

    const auto equals = pair.find('=');
    if (equals == pair.npos) {
        fault_ = "text without '=': \"" + printable(pair) + "\"";
        return {};
    }
    const auto key = pair.substr(0, equals);
    const auto value = pair.substr(equals + 1);
    if (!is_key(key)) {
        fault_ = "no name of a key: \"" + printable(key) + "\"";
    } else if (std::any_of(value.begin(), value.end(), is_control)) {
        fault_ = "the value of " + printable(key) + " has control characters";
    }
    if (!fault_.empty()) return {};
    return TextPair{.key = key, .value = value};
}

void TextWriter::put(std::string_view key, std::string_view value) {
    if (text_.size() + key.size() + value.size() + 2 > default_segment_length) {
        complete_ = false;
        return;
    }
    text_.append(key).append(1, '=').append(value).append(1, '\0');
}

void TextWriter::clear() noexcept {
    text_.clear();
    complete_ = true;
}

std::optional<std::uint64_t> parse_number(std::string_view value) noexcept {
    const unsigned base = has_prefix(value, 'x') ? 16 : 10;
    if (base == 16) value.remove_prefix(2);
    if (value.empty()) return {};
    std::uint64_t number = 0;
    for (const char c : value) {
        const auto digit = hex_digit(c);
        if (digit >= base || number > (UINT64_MAX - digit) / base) return {};
        number = number * base + digit;
    }
    return number;
}

std::optional<bool> parse_boolean(std::string_view value) noexcept {
    if (value == "Yes") return true;
    if (value == "No") return false;
    return {};
}

std::optional<std::string_view> next_of_list(std::string_view& list) noexcept {
    if (list.empty()) return {};
    const auto value = list.substr(0, list.find(','));
    list.remove_prefix(std::min(value.size() + 1, list.size()));
    return value;
}

bool list_has(std::string_view list, std::string_view value) noexcept {
    while (const auto one = next_of_list(list)) {
        if (*one == value) return true;
    }
    return false;
}

std::optional<std::vector<std::uint8_t>> parse_binary(std::string_view value, std::size_t limit) {
    std::optional<std::vector<std::uint8_t>> bytes;
    if (has_prefix(value, 'x')) {
        if (is_hex(value.substr(2)) && value.size() - 2 <= 2 * limit)
            bytes = parse_hex(value.substr(2));
    } else if (has_prefix(value, 'b')) {
        if (value.size() - 2 <= (limit + 2) / 3 * 4) bytes = parse_base64(value.substr(2));
    } else if (const auto number = parse_number(value)) {
        bytes.emplace();
        int shift = 56;
        while (shift > 0 && (*number >> shift) == 0)
            shift -= 8;
        for (; shift >= 0; shift -= 8)
            bytes->push_back(static_cast<std::uint8_t>(*number >> shift));
    }
    if (bytes && (bytes->empty() || bytes->size() > limit)) bytes.reset();
    return bytes;
}

std::string binary_text(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "0x";
    for (const auto byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

bool is_iscsi_name(std::string_view name) noexcept {
    if (name.size() <= 4 || name.size() > name_length_max) return false;
    const auto body = name.substr(4);
    if (same_name(name.substr(0, 4), "eui.")) return body.size() == 16 && is_hex(body);
    if (same_name(name.substr(0, 4), "naa."))
        return (body.size() == 16 || body.size() == 32) && is_hex(body);
    // The underscore is not the standard's, but of computers' names, which names are made from.
    return same_name(name.substr(0, 4), "iqn.") && is_of(body, ".-:_");
}

bool same_name(std::string_view a, std::string_view b) noexcept {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace wnbd::iscsi
