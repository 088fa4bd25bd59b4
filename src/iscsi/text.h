// SPDX-License-Identifier: LGPL-2.1-or-later
// Text of login and text PDUs (RFC 7143, 6.1): key=value pairs that end in NUL, and their values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iscsi/protocol.h"

namespace wnbd::iscsi {

/// Bytes of one text, over however many PDUs. The standard asks for 8192 at least (6.2).
constexpr std::size_t text_limit = 16384;

/// What of a hostile text may be shown: printable ASCII, the rest as \xNN, at most 80 characters.
[[nodiscard]] std::string printable(std::string_view text);

/// Gathers a text over the PDUs that have the C bit.
class TextInput {
  public:
    /// False, and nothing taken, when the text becomes longer than text_limit. May throw
    /// std::bad_alloc.
    [[nodiscard]] bool append(std::span<const std::uint8_t> data);
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    void clear() noexcept { text_.clear(); }

  private:
    std::string text_;
};

struct TextPair {
    std::string_view key;
    std::string_view value;
};

/// Takes a text apart. The pairs point into it.
class TextReader {
  public:
    explicit TextReader(std::string_view text) noexcept : rest_(text) {}
    /// Nothing at the end, and when the text is at fault.
    [[nodiscard]] std::optional<TextPair> next();
    /// Why the text is none, as one line; empty while it is in order.
    [[nodiscard]] const std::string& fault() const noexcept { return fault_; }

  private:
    std::string_view rest_;
    std::string fault_;
};

/// Puts a text together that fits one PDU of an initiator that has declared nothing.
class TextWriter {
  public:
    /// May throw std::bad_alloc.
    void put(std::string_view key, std::string_view value);
    void put(std::string_view key, std::uint32_t value) { put(key, std::to_string(value)); }
    void clear() noexcept;

    /// False: put() had something that did not fit and left it out.
    [[nodiscard]] bool complete() const noexcept { return complete_; }
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const noexcept {
        return {reinterpret_cast<const std::uint8_t*>(text_.data()), text_.size()};
    }

  private:
    std::string text_;
    bool complete_ = true;
};

// --- Values (6.1).

/// Decimal, or hexadecimal after 0x. Nothing for anything else and above 2^64 - 1.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view value) noexcept;
/// "Yes" or "No".
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view value) noexcept;
/// Whether a list of values, separated by commas, holds this one.
[[nodiscard]] bool list_has(std::string_view list, std::string_view value) noexcept;
/// The next value of a list, and the list without it. Nothing at its end.
[[nodiscard]] std::optional<std::string_view> next_of_list(std::string_view& list) noexcept;
/// Hexadecimal after 0x, base64 after 0b, or a decimal number as its bytes, highest first. Nothing
/// when it is none of these, empty or longer than `limit` bytes.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> parse_binary(std::string_view value,
                                                                    std::size_t limit);
[[nodiscard]] std::string binary_text(std::span<const std::uint8_t> bytes);  // as hexadecimal

/// A name of a node (4.2.7): iqn., eui. or naa., its characters and its length.
[[nodiscard]] bool is_iscsi_name(std::string_view name) noexcept;
/// Names are the same whatever the case of their letters (4.2.7.2).
[[nodiscard]] bool same_name(std::string_view a, std::string_view b) noexcept;

}  // namespace wnbd::iscsi
