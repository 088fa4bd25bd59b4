// SPDX-License-Identifier: LGPL-2.1-or-later
// CLI11 assigns the words to options and positionals. In front of it stands what it does not do:
// shortened option names, and values that begin with a dash. Behind it stand the checks of the
// values, since CLI11 would read numbers in C notation (010 as eight).
#include "client/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "client/text.h"

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;

std::string quoted(std::string_view name) {
    return "'--" + std::string(name) + "'";
}

/// Every option of a command by its long name, positionals included.
std::vector<const OptionSpec*> all_options(const CommandSpec& command) {
    std::vector<const OptionSpec*> all;
    for (const auto& group : {command.positionals, command.options, common_options()}) {
        for (const OptionSpec& option : group)
            all.push_back(&option);
    }
    return all;
}

/// What `typed` is short for. `--help` keeps out of it, so that `map disk --h server` stays what it
/// was before there was such an option; but where `--h` can't be anything else it is the help, and
/// where it could cost data it is refused.
Result<const OptionSpec*, UsageError> resolve(const std::vector<const OptionSpec*>& all,
                                              std::string_view typed) {
    constexpr std::string_view help = "help";
    std::vector<const OptionSpec*> matches;
    const OptionSpec* maybe_help = nullptr;
    bool destructive = false;
    for (const OptionSpec* option : all) {
        if (option->name == typed) return option;
        if (!option->name.starts_with(typed)) continue;
        if (option->name == help && !typed.empty()) maybe_help = option;
        if (option->exact_only) continue;
        matches.push_back(option);
        destructive = destructive || option->destructive;
    }
    if (maybe_help != nullptr && (matches.empty() || destructive)) matches.push_back(maybe_help);
    if (matches.empty()) return Failure{UsageError{"unrecognised option " + quoted(typed)}};
    if (matches.size() == 1) return matches.front();
    std::string text = "option " + quoted(typed) + " is ambiguous and matches ";
    for (std::size_t i = 0; i < matches.size(); ++i) {
        if (i != 0) text += i + 1 == matches.size() ? ", and " : ", ";
        text += quoted(matches[i]->name);
    }
    return Failure{UsageError{text}};
}

/// The words in the one form that leaves CLI11 nothing to guess: full option names first, each with
/// its value, then `--`, then the positionals.
class Normaliser {
  public:
    explicit Normaliser(const CommandSpec& command) : all_(all_options(command)) {}

    Result<Words, UsageError> run(std::span<const std::string> words) {
        while (!words.empty()) {
            const std::string& word = words.front();
            words = words.subspan(1);
            if (word == "--") {
                positionals_.insert(positionals_.end(), words.begin(), words.end());
                break;
            }
            if (word == "-h") {
                options_.emplace_back("--help");
            } else if (word.starts_with("--")) {
                if (auto error = take_option(std::string_view(word).substr(2), words)) {
                    return Failure{*error};
                }
            } else if (word.size() > 1 && word.front() == '-') {
                return Failure{UsageError{"unrecognised option '" + word + "'"}};
            } else {
                positionals_.push_back(word);
            }
        }
        options_.emplace_back("--");
        options_.insert(options_.end(), positionals_.begin(), positionals_.end());
        return options_;
    }

  private:
    std::optional<UsageError> take_option(std::string_view word,
                                          std::span<const std::string>& rest) {
        const std::size_t equals = word.find('=');
        const auto resolved = resolve(all_, word.substr(0, equals));
        if (!resolved) return resolved.error();
        const OptionSpec& option = *resolved.value();
        const std::string name = "--" + std::string(option.name);

        if (option.kind == ValueKind::none) {
            if (equals != std::string_view::npos) {
                return UsageError{"option " + quoted(option.name) + " does not take any arguments"};
            }
            options_.push_back(name);
            return std::nullopt;
        }
        if (equals != std::string_view::npos) {
            if (equals + 1 == word.size()) {
                return UsageError{"the argument for option " + quoted(option.name) +
                                  " should follow immediately after the equal sign"};
            }
            options_.push_back(name + std::string(word.substr(equals)));
            return std::nullopt;
        }
        if (rest.empty() || rest.front().starts_with("--")) {
            return UsageError{"the required argument for option " + quoted(option.name) +
                              " is missing"};
        }
        // An empty value must be a word of its own: CLI11 reads `--name=` as `--name` without one.
        if (rest.front().empty()) {
            options_.push_back(name);
            options_.emplace_back();
        } else {
            options_.push_back(name + "=" + rest.front());
        }
        rest = rest.subspan(1);
        return std::nullopt;
    }

    std::vector<const OptionSpec*> all_;
    Words options_;
    Words positionals_;
};

bool is_valid(const OptionSpec& option, const std::string& value) {
    switch (option.kind) {
        case ValueKind::number32:
            return parse_number(value, std::numeric_limits<std::uint32_t>::max()).has_value();
        case ValueKind::number64:
            return parse_number(value, std::numeric_limits<std::uint64_t>::max()).has_value();
        case ValueKind::size: return parse_size(value).has_value();
        case ValueKind::format:
            return std::ranges::find(known_values(option), value) != known_values(option).end();
        case ValueKind::text:
            return option.choices.empty() ||
                   std::ranges::find(option.choices, value) != option.choices.end();
        case ValueKind::none: return true;
    }
    return false;
}

void declare_options(CLI::App& parser, const CommandSpec& command) {
    parser.set_help_flag();
    parser.allow_windows_style_options(false);
    for (const OptionSpec& positional : command.positionals) {
        const std::string name(positional.name);
        std::string both = name;
        both.append(",--").append(name);
        parser.add_option(both)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }
    for (const auto& group : {command.options, common_options()}) {
        for (const OptionSpec& option : group) {
            const std::string name = "--" + std::string(option.name);
            if (option.kind == ValueKind::none) {
                parser.add_flag(name);
            } else {
                parser.add_option(name)->expected(1)->multi_option_policy(
                    CLI::MultiOptionPolicy::TakeAll);
            }
        }
    }
}

}  // namespace

std::string Arguments::text(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::string{} : found->second.front();
}

std::vector<std::string> Arguments::texts(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::vector<std::string>{} : found->second;
}

std::uint64_t Arguments::number(std::string_view name, std::uint64_t fallback) const {
    const auto found = values_.find(name);
    return found == values_.end() ? fallback : parse_size(found->second.front()).value_or(fallback);
}

OutputFormat Arguments::format() const {
    if (!has("format")) return default_format_;
    return text("format") == "json" ? OutputFormat::json : OutputFormat::table;
}

OutputFormat format_of_words(std::span<const std::string> words, OutputFormat default_format) {
    OutputFormat format = default_format;
    for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
        std::string_view value;
        if (words[i] == "--format" && i + 1 < words.size()) {
            value = words[i + 1];
        } else if (words[i].starts_with("--format=")) {
            value = std::string_view(words[i]).substr(words[i].find('=') + 1);
        }
        if (value == "json") format = OutputFormat::json;
        if (value == "table") format = OutputFormat::table;
    }
    return format;
}

Result<Arguments, UsageError> parse_arguments(const CommandSpec& command,
                                              std::span<const std::string> words,
                                              OutputFormat default_format) {
    auto normal = Normaliser(command).run(words);
    if (!normal) return Failure{normal.error()};

    CLI::App parser;
    declare_options(parser, command);
    try {
        Words& reversed = normal.value();  // CLI11 takes the words from the back
        std::ranges::reverse(reversed);
        parser.parse(reversed);
    } catch (const CLI::ExtrasError&) {
        return Failure{UsageError{"too many arguments"}};
    } catch (const CLI::ParseError& error) {
        return Failure{UsageError{error.what()}};
    }

    Arguments arguments;
    arguments.default_format_ = default_format;
    for (const OptionSpec* option : all_options(command)) {
        const auto& given = parser.get_option("--" + std::string(option->name))->results();
        if (given.empty()) continue;
        if (option->kind != ValueKind::none && given.size() > 1 && !option->repeatable) {
            return Failure{UsageError{"option " + quoted(option->name) +
                                      " cannot be specified more than once"}};
        }
        for (const std::string& value : given) {
            if (is_valid(*option, value)) continue;
            return Failure{UsageError{"the argument ('" + value + "') for option " +
                                      quoted(option->name) + " is invalid"}};
        }
        arguments.values_.emplace(option->name, given);
    }
    if (arguments.has("help")) return arguments;
    for (const OptionSpec& positional : command.positionals) {
        if (positional.required && !arguments.has(positional.name)) {
            return Failure{
                UsageError{"the option " + quoted(positional.name) + " is required but missing"}};
        }
    }
    return arguments;
}

}  // namespace wnbd::client
