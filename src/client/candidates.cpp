// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/candidates.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "client/command_table.h"

namespace wnbd::client {
namespace {

constexpr std::string_view dashes = "--";

/// Bytes of the quotation mark at the front, or 0. PowerShell takes typographic ones for plain
/// ones: U+2018 to U+201B for ', U+201C to U+201E for ".
std::size_t mark_length(std::string_view text, char kind) noexcept {
    if (text.starts_with(kind)) return 1;
    if (text.size() < 3 || !text.starts_with("\xE2\x80")) return 0;
    const auto last = static_cast<unsigned char>(text[2]);
    const bool is_mark = kind == '\'' ? last >= 0x98 && last <= 0x9B : last >= 0x9C && last <= 0x9E;
    return is_mark ? 3 : 0;
}

char lower(char character) noexcept {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                : character;
}

bool begins_with(std::string_view text, std::string_view beginning) noexcept {
    return text.size() >= beginning.size() &&
           std::ranges::equal(text.substr(0, beginning.size()), beginning,
                              [](char one, char other) { return lower(one) == lower(other); });
}

/// As PowerShell reads it back as one word.
std::string quoted(std::string_view word) {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/\\=";
    if (!word.empty() && word.find_first_not_of(plain) == std::string_view::npos)
        return std::string(word);
    std::string text = "'";
    while (!word.empty()) {
        const std::size_t mark = mark_length(word, '\'');
        const std::size_t length = std::max(mark, std::size_t{1});
        text += word.substr(0, length);
        if (mark != 0) text += word.substr(0, length);
        word.remove_prefix(length);
    }
    return text + "'";
}

/// Takes the line apart from its front to its end.
class Splitter {
  public:
    explicit Splitter(std::string_view text) : rest_(text) {}

    PowershellWords split() {
        while (!rest_.empty()) {
            if (rest_.front() == ' ' || rest_.front() == '\t') {
                end_word();
                rest_.remove_prefix(1);
            } else if (const std::size_t single = mark_length(rest_, '\''); single != 0) {
                take_quotation('\'', single);
            } else if (const std::size_t both = mark_length(rest_, '"'); both != 0) {
                take_quotation('"', both);
            } else {
                take_character(true);
            }
        }
        return {std::move(words_), word_.value_or("")};
    }

  private:
    void end_word() {
        if (word_) words_.push_back(std::move(*word_));
        word_.reset();
    }

    void take_character(bool escapes) {
        if (escapes && rest_.front() == '`' && rest_.size() > 1) rest_.remove_prefix(1);
        word_ = word_.value_or("") + rest_.front();
        rest_.remove_prefix(1);
    }

    /// Up to the mark that ends it, or to the line's end.
    void take_quotation(char kind, std::size_t length) {
        word_ = word_.value_or("");
        rest_.remove_prefix(length);
        while (!rest_.empty()) {
            const std::size_t mark = mark_length(rest_, kind);
            if (mark == 0) {
                take_character(kind == '"');
                continue;
            }
            const std::size_t next = mark_length(rest_.substr(mark), kind);
            if (next != 0) *word_ += rest_.substr(0, mark);
            rest_.remove_prefix(mark + next);
            if (next == 0) return;
        }
    }

    std::string_view rest_;
    std::vector<std::string> words_;
    std::optional<std::string> word_;
};

const OptionSpec* find_option(std::span<const OptionSpec> options, std::string_view word) noexcept {
    const auto found = std::ranges::find_if(options, [word](const OptionSpec& option) {
        return option.kind != ValueKind::none && word.starts_with(dashes) &&
               word.substr(dashes.size()) == option.name;
    });
    return found == options.end() ? nullptr : &*found;
}

/// Where the cursor is, after a command's name: what the words before it leave open.
struct Place {
    std::map<std::string, std::string, std::less<>> given;
    const OptionSpec* expected = nullptr;  // an option that waits for its value
    std::size_t positionals = 0;           // that were given
    bool options_end = false;              // `--` was among them
};

class Completion {
  public:
    Completion(const CommandSpec& command, std::string_view typed, const KnownNames& names)
        : command_(command), typed_(typed), names_(names) {}

    std::string run(std::span<const std::string> words) {
        const Place place = walk(words);
        const std::size_t assignment = typed_.find('=');
        if (place.expected != nullptr) {
            offer_values(*place.expected, place, "");
        } else if (!place.options_end && typed_.starts_with(dashes) &&
                   assignment != std::string_view::npos) {
            if (const OptionSpec* const option = find_any(typed_.substr(0, assignment)))
                offer_values(*option, place, typed_.substr(0, assignment + 1));
        } else if (!typed_option(place) && place.positionals < command_.positionals.size()) {
            offer_values(command_.positionals[place.positionals], place, "");
        } else if (!place.options_end) {
            offer_options();
        }
        return std::move(lines_);
    }

    /// `before` is what stands of the word already, an option's name and `=`.
    void offer(std::string_view text, std::string_view kind, std::string_view tip,
               std::string_view before = "") {
        const auto is_control = [](char character) {
            return static_cast<unsigned char>(character) < ' ' || character == '\x7F';
        };
        if (text.empty() || std::ranges::any_of(text, is_control)) return;
        if (!begins_with(text, typed_.substr(before.size()))) return;
        lines_ += quoted(std::string(before) + std::string(text)) + '\t' + std::string(text) +
                  '\t' + std::string(kind) + '\t' + std::string(tip) + '\n';
    }

    std::string take_lines() { return std::move(lines_); }

  private:
    [[nodiscard]] bool typed_option(const Place& place) const noexcept {
        return !place.options_end && typed_.starts_with('-');
    }

    [[nodiscard]] Place walk(std::span<const std::string> words) const {
        Place place;
        for (const std::string& word : words) {
            if (place.expected != nullptr) {
                place.given[std::string(place.expected->name)] = word;
                place.expected = nullptr;
            } else if (!place.options_end && word == dashes) {
                place.options_end = true;
            } else if (!place.options_end && word.starts_with('-')) {
                place.expected = find_any(word);
            } else {
                if (place.positionals < command_.positionals.size())
                    place.given[std::string(command_.positionals[place.positionals].name)] = word;
                ++place.positionals;
            }
        }
        return place;
    }

    /// An option that takes a value; positional arguments have such names, too.
    [[nodiscard]] const OptionSpec* find_any(std::string_view word) const noexcept {
        for (const auto options : {command_.options, common_options(), command_.positionals})
            if (const OptionSpec* const found = find_option(options, word)) return found;
        return nullptr;
    }

    void offer_options() {
        for (const auto options : {command_.options, common_options()})
            for (const OptionSpec& option : options)
                offer(std::string(dashes) + std::string(option.name), "ParameterName",
                      option.description);
    }

    void offer_values(const OptionSpec& option, const Place& place, std::string_view before) {
        for (const std::string& value : values_of(option, place))
            offer(value, "ParameterValue", option.description, before);
    }

    [[nodiscard]] std::vector<std::string> values_of(const OptionSpec& option,
                                                     const Place& place) const {
        std::vector<std::string> values;
        switch (option.source) {
            case ValueSource::disk: return names_.disks();
            case ValueSource::option_name:
                for (const KnownOption& known : names_.options())
                    values.push_back(known.name);
                return values;
            case ValueSource::option_value: {
                const auto named = place.given.find("name");
                if (named == place.given.end()) return values;
                for (const KnownOption& known : names_.options())
                    if (known.is_switch && known.name == named->second) return {"true", "false"};
                return values;
            }
            case ValueSource::command:
                for (const CommandSpec& command : commands())
                    values.emplace_back(command.names.front());
                return values;
            case ValueSource::anywhere:
            case ValueSource::file:
            case ValueSource::completer: break;
        }
        for (const std::string_view known : known_values(option))
            values.emplace_back(known);
        return values;
    }

    const CommandSpec& command_;
    std::string_view typed_;
    const KnownNames& names_;
    std::string lines_;
};

std::string command_lines(std::string_view typed, const KnownNames& names) {
    Completion completion(commands().front(), typed, names);
    for (const CommandSpec& command : commands())
        for (const std::string_view name : command.names)
            completion.offer(name, "Command", command.description);
    return completion.take_lines();
}

}  // namespace

PowershellWords split_powershell(std::string_view text) {
    return Splitter(text).split();
}

std::string candidate_lines(std::string_view text, const KnownNames& names) {
    const PowershellWords words = split_powershell(text);
    if (words.complete.empty()) return {};  // the program's own name
    if (words.complete.size() == 1) return command_lines(words.typed, names);
    const CommandSpec* const command = find_command(words.complete[1]);
    if (command == nullptr) return {};
    return Completion(*command, words.typed, names).run(std::span(words.complete).subspan(2));
}

}  // namespace wnbd::client
