// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/option_text.h"

#include <algorithm>
#include <vector>

#include "client/fields.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

Value typed_value(const WNBD_OPTION_VALUE& value) {
    switch (value.Type) {
        case WnbdOptBool: return Switch{value.Data.AsBool != 0};
        case WnbdOptInt64: return static_cast<std::int64_t>(value.Data.AsInt64);
        case WnbdOptWstr: return utf8_from_utf16(std::span<const WCHAR>(value.Data.AsWstr));
        case WnbdOptUnknown: break;
    }
    return "UNKNOWN TYPE (" + std::to_string(static_cast<int>(value.Type)) + ")";
}

/// Options spell their switches out, unlike show's flags.
std::string option_value_text(const WNBD_OPTION_VALUE& value) {
    if (value.Type == WnbdOptBool) return value.Data.AsBool != 0 ? "true" : "false";
    return table_text(typed_value(value));
}

std::string name_of(const WNBD_OPTION& option) {
    return utf8_from_utf16(std::span<const WCHAR>(option.Name));
}

}  // namespace

std::string option_list_text(std::span<const WNBD_OPTION> options, OutputFormat format) {
    if (format == OutputFormat::json) {
        std::vector<Record> records;
        for (const WNBD_OPTION& option : options) {
            records.push_back({
                {"Name", name_of(option)},
                {"Value", typed_value(option.Value)},
                {"Default", typed_value(option.Default)},
            });
        }
        return json_text(records);
    }
    std::size_t widest = 0;
    for (const WNBD_OPTION& option : options)
        widest = std::max(widest, name_of(option).size());
    std::string text;
    for (const WNBD_OPTION& option : options) {
        text += padded(name_of(option), widest) + " : " + option_value_text(option.Value) +
                " (Default: " + option_value_text(option.Default) + ")\n";
    }
    return text;
}

std::string option_text(std::string_view name, const WNBD_OPTION_VALUE& value,
                        OutputFormat format) {
    if (format == OutputFormat::json) {
        return json_text(Record{{"Name", std::string(name)}, {"Value", typed_value(value)}});
    }
    return "Name: " + std::string(name) + "\nValue: " + option_value_text(value) + "\n";
}

}  // namespace wnbd::client
