// SPDX-License-Identifier: LGPL-2.1-or-later
// What a command prints, before it is known whether as a table or as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wnbd::client {

/// In a table a switch is printed as 0 or 1, in JSON as false or true.
struct Switch {
    bool on = false;
};

/// A point in time that has not come yet: `never` in a table, null in JSON.
struct Never {};

struct Field;
using Record = std::vector<Field>;

/// Nested records and lists appear in JSON only; in a table they are parts of their own.
using Value = std::variant<Never, Switch, std::int64_t, std::uint64_t, std::string, Record,
                           std::vector<Record>, std::vector<std::string>>;

struct Field {
    std::string_view label;  // a literal: must outlive the field
    Value value;
};

/// A value as a table shows it.
[[nodiscard]] std::string table_text(const Value& value);

/// `title`, then `label : value` lines with the labels padded to `label_width`, then a blank line.
/// Nested records and lists are left out.
[[nodiscard]] std::string table_text(std::string_view title, const Record& record,
                                     std::size_t label_width);

/// One JSON object, or an array of them; indented by two, ends with a newline. Bytes that are not
/// UTF-8 become U+FFFD.
[[nodiscard]] std::string json_text(const Record& record);
[[nodiscard]] std::string json_text(const std::vector<Record>& records);

/// The same on one line, without a newline.
[[nodiscard]] std::string json_line(const Record& record);

}  // namespace wnbd::client
