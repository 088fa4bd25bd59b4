// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/help.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string_view>
#include <vector>

#include "client/fields.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

constexpr std::size_t line_width = 80;
constexpr std::size_t description_width_min = 26;
constexpr std::size_t left_column_min = 20;

struct Row {
    std::string label;
    std::string_view description;
};

using Rows = std::vector<Row>;

std::string joined_names(const CommandSpec& command) {
    std::string joined;
    for (const std::string_view name : command.names) {
        if (!joined.empty()) joined += " | ";
        joined += name;
    }
    return joined;
}

std::string option_label(const OptionSpec& option) {
    const std::string value = option.kind == ValueKind::none ? "" : " <arg>";
    return "[--" + std::string(option.name) + value + "]";
}

/// The lines joined, all but the first one behind `indent` spaces.
std::string hanging(const std::vector<std::string>& lines, std::size_t indent) {
    std::string text;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (i != 0) text += std::string(indent, ' ');
        text += lines[i] + "\n";
    }
    return text;
}

std::size_t remaining_width(std::size_t used) {
    return line_width > used + description_width_min ? line_width - used : description_width_min;
}

std::string usage(const CommandSpec& command) {
    std::string text = "Usage: wnbd-client " + std::string(command.names.front()) + " ";
    const std::size_t margin = text.size();
    for (const OptionSpec& positional : command.positionals) {
        text += "<" + std::string(positional.name) + "> ";
    }
    text += "\n";

    // A label is broken nowhere, so its inner space is hidden from the wrapping.
    constexpr char glue = '\x01';
    std::string labels;
    for (const auto& group : {command.options, common_options()}) {
        for (const OptionSpec& option : group) {
            std::string label = option_label(option);
            std::ranges::replace(label, ' ', glue);
            if (!labels.empty()) labels += ' ';
            labels += label;
        }
    }
    std::string options = hanging(wrapped(labels, remaining_width(margin + 1)), margin);
    std::ranges::replace(options, glue, ' ');
    return text + std::string(margin, ' ') + options;
}

std::string block(std::string_view title, Rows rows, std::size_t left_column) {
    std::ranges::sort(rows, {}, &Row::label);
    std::string text = std::string(title) + "\n";
    for (const Row& row : rows) {
        text += padded("  " + row.label, left_column);
        text += hanging(wrapped(row.description, remaining_width(left_column)), left_column);
    }
    return text;
}

Rows option_rows(std::span<const OptionSpec> options) {
    Rows rows;
    for (const OptionSpec& option : options)
        rows.push_back({option_label(option), option.description});
    return rows;
}

std::vector<Record> option_records(std::span<const OptionSpec> options) {
    std::vector<Record> records;
    for (const OptionSpec& option : options) {
        const auto values = known_values(option);
        records.push_back({
            {"Name", std::string(option.name)},
            {"Description", std::string(option.description)},
            {"TakesValue", Switch{option.kind != ValueKind::none}},
            {"Required", Switch{option.required}},
            {"Values", std::vector<std::string>(values.begin(), values.end())},
        });
    }
    return records;
}

Record command_record(const CommandSpec& command) {
    std::vector<Record> options = option_records(command.options);
    std::ranges::move(option_records(common_options()), std::back_inserter(options));
    return {
        {"Names", std::vector<std::string>(command.names.begin(), command.names.end())},
        {"Description", std::string(command.description)},
        {"Positionals", option_records(command.positionals)},
        {"Options", options},
    };
}

}  // namespace

std::string help_for_all(OutputFormat format) {
    if (format == OutputFormat::json) {
        std::vector<Record> records;
        for (const CommandSpec& command : commands())
            records.push_back(command_record(command));
        return json_text(records);
    }
    std::size_t widest = 0;
    for (const CommandSpec& command : commands()) {
        widest = std::max(widest, joined_names(command).size());
    }
    std::string text = "wnbd-client commands: \n\n";
    for (const CommandSpec& command : commands()) {
        text += padded(joined_names(command), widest) + " ";
        text += hanging(wrapped(command.description, line_width - widest - 1), widest + 1);
    }
    return text;
}

std::string help_for(const CommandSpec& command, OutputFormat format) {
    if (format == OutputFormat::json) return json_text(command_record(command));
    Rows positionals;
    for (const OptionSpec& positional : command.positionals) {
        positionals.push_back({std::string(positional.name), positional.description});
    }
    const Rows optional = option_rows(command.options);
    const Rows common = option_rows(common_options());

    std::size_t left_column = left_column_min;
    for (const auto& rows : {std::cref(positionals), std::cref(optional), std::cref(common)}) {
        for (const Row& row : rows.get())
            left_column = std::max(left_column, row.label.size() + 3);
    }

    std::string text = usage(command) + "\n";
    text += hanging(wrapped(command.description, line_width), 0) + "\n";
    if (!positionals.empty()) {
        text += block("Positional arguments:", positionals, left_column) + "\n";
    }
    if (!optional.empty()) text += block("Optional arguments:", optional, left_column) + "\n";
    return text + block("Common arguments:", common, left_column);
}

}  // namespace wnbd::client
