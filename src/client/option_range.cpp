// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/option_range.h"

#include <algorithm>

#include "base/option_table.h"

namespace wnbd::client {
namespace {

constexpr char lower(char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character + ('a' - 'A'))
                                                : character;
}

const OptionDefinition* find(std::string_view name) {
    const auto* const found =
        std::ranges::find_if(option_definitions, [name](const OptionDefinition& definition) {
            return std::ranges::equal(name, std::string_view(definition.name), {}, lower, lower);
        });
    return found == std::end(option_definitions) ? nullptr : found;
}

std::string range_of(const OptionDefinition& definition) {
    const std::string maximum = std::to_string(definition.maximum);
    switch (definition.kind) {
        case OptionKind::boolean: return "true or false (or 1, t, yes, y; 0, f, no, n)";
        case OptionKind::integer:
            return "a number from " + std::to_string(definition.minimum) + " to " + maximum;
        case OptionKind::timeout:
            return "milliseconds from 1 to " + maximum + ", or 0 for the default, " +
                   std::to_string(definition.initial);
    }
    return {};
}

}  // namespace

std::string option_range_text(std::string_view name) {
    const OptionDefinition* const definition = find(name);
    if (definition == nullptr) return {};
    return std::string(definition->name) + " takes " + range_of(*definition);
}

std::string option_absence_text(std::string_view name, bool persistent) {
    const OptionDefinition* const definition = find(name);
    if (definition == nullptr) return "there is no such option";
    return persistent ? "no value of " + std::string(definition->name) + " is stored" : "";
}

}  // namespace wnbd::client
