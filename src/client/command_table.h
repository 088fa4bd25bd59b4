// SPDX-License-Identifier: LGPL-2.1-or-later
// What can be typed: every command with its names, positional arguments and options. The parser,
// the help, the completion and the dispatcher read this one table.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace wnbd::client {

/// How the text of an option's value is read.
enum class ValueKind : std::uint8_t {
    none,      // a switch
    text,      // any text
    number32,  // decimal, 0 to 2^32 - 1
    number64,  // decimal, 0 to 2^64 - 1
    size,      // bytes, decimal, with an optional suffix K, M, G or T (powers of 1024)
    format,    // table or json
};

/// Where a value may come from; what completion offers.
enum class ValueSource : std::uint8_t {
    anywhere,      // nothing can be offered
    disk,          // a mapped disk's name
    option_name,   // a driver option's name
    option_value,  // a value for the driver option that was named before
    command,       // a command's name
    file,          // a file
    completer,     // a program that completion can be made for
};

struct OptionSpec {
    std::string_view name;  // without the dashes
    ValueKind kind = ValueKind::none;
    std::string_view description;
    /// A positional argument that must be given.
    bool required = false;
    /// Takes no part in the guessing of shortened names, so that what is short for an option of the
    /// first implementation stays short for it.
    bool exact_only = false;
    /// Costs data: `--h` never means this, since it may be meant to ask for help.
    bool destructive = false;
    ValueSource source = ValueSource::anywhere;
    /// May be given more than once.
    bool repeatable = false;
    /// The only values there are; empty: others, too.
    std::span<const std::string_view> choices{};
};

struct CommandSpec {
    std::span<const std::string_view> names;  // the first one is the canonical one
    std::string_view description;
    std::span<const OptionSpec> positionals;  // each may also be given by its long name
    std::span<const OptionSpec> options;
};

/// In the order of the help.
[[nodiscard]] std::span<const CommandSpec> commands() noexcept;

/// What every command takes: --debug, --format, --help.
[[nodiscard]] std::span<const OptionSpec> common_options() noexcept;

/// The words that `source` stands for, where they are known beforehand.
[[nodiscard]] std::span<const std::string_view> known_values(const OptionSpec& option) noexcept;

/// Finds a command by any of its names, exactly. Null when there is none.
[[nodiscard]] const CommandSpec* find_command(std::string_view name) noexcept;

}  // namespace wnbd::client
