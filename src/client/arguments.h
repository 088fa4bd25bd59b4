// SPDX-License-Identifier: LGPL-2.1-or-later
// The words after the command, read by its table entry.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/command_table.h"

namespace wnbd::client {

/// Why the words cannot be read; to be printed after `wnbd-client: `. Always exit 87
/// (ERROR_INVALID_PARAMETER).
struct UsageError {
    std::string text;
};

enum class OutputFormat : std::uint8_t { table, json };

/// What was given: checked and complete, but for --help, which excuses missing arguments.
class Arguments {
  public:
    [[nodiscard]] bool has(std::string_view name) const { return values_.contains(name); }

    /// The text given, or empty.
    [[nodiscard]] std::string text(std::string_view name) const;

    /// All that were given, in their order.
    [[nodiscard]] std::vector<std::string> texts(std::string_view name) const;

    /// The number or size given, or `fallback`. Numbers were checked when they were read.
    [[nodiscard]] std::uint64_t number(std::string_view name, std::uint64_t fallback) const;

    [[nodiscard]] OutputFormat format() const;

  private:
    friend Result<Arguments, UsageError> parse_arguments(const CommandSpec& command,
                                                         std::span<const std::string> words,
                                                         OutputFormat default_format);

    std::map<std::string, std::vector<std::string>, std::less<>> values_;
    OutputFormat default_format_ = OutputFormat::table;
};

/// The format that `words` ask for, as far as it can be told from words that may turn out to be
/// wrong: for the message that says so.
[[nodiscard]] OutputFormat format_of_words(std::span<const std::string> words,
                                           OutputFormat default_format);

/// Long options as `--name value` or `--name=value`, shortened as long as they are unambiguous,
/// anywhere between the positional arguments; each positional also by its long name; after `--`
/// everything is positional.
[[nodiscard]] Result<Arguments, UsageError> parse_arguments(
    const CommandSpec& command, std::span<const std::string> words,
    OutputFormat default_format = OutputFormat::table);

}  // namespace wnbd::client
