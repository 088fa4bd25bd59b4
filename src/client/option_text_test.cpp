// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/option_text.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string_view>
#include <vector>

namespace wnbd::client {
namespace {

WNBD_OPTION_VALUE bool_value(bool value) {
    WNBD_OPTION_VALUE result{};
    result.Type = WnbdOptBool;
    result.Data.AsBool = value ? 1 : 0;
    return result;
}

WNBD_OPTION_VALUE number_value(INT64 value) {
    WNBD_OPTION_VALUE result{};
    result.Type = WnbdOptInt64;
    result.Data.AsInt64 = value;
    return result;
}

WNBD_OPTION option(std::u16string_view name, const WNBD_OPTION_VALUE& value,
                   const WNBD_OPTION_VALUE& default_value) {
    WNBD_OPTION result{};
    name.copy(result.Name, name.size());
    result.Type = value.Type;
    result.Value = value;
    result.Default = default_value;
    return result;
}

std::vector<WNBD_OPTION> two_options() {
    return {option(u"LogLevel", number_value(4), number_value(1)),
            option(u"NewMappingsAllowed", bool_value(false), bool_value(true))};
}

TEST(OptionListText, PadsNamesToTheLongest) {
    EXPECT_EQ(option_list_text(two_options(), OutputFormat::table),
              "LogLevel           : 4 (Default: 1)\n"
              "NewMappingsAllowed : false (Default: true)\n");
    EXPECT_EQ(option_list_text({}, OutputFormat::table), "");
}

TEST(OptionListText, JsonHasTypedValues) {
    EXPECT_EQ(option_list_text(two_options(), OutputFormat::json),
              "[\n"
              "  {\n"
              "    \"Name\": \"LogLevel\",\n"
              "    \"Value\": 4,\n"
              "    \"Default\": 1\n"
              "  },\n"
              "  {\n"
              "    \"Name\": \"NewMappingsAllowed\",\n"
              "    \"Value\": false,\n"
              "    \"Default\": true\n"
              "  }\n"
              "]\n");
}

TEST(OptionText, PrintsTheNameAsTyped) {
    EXPECT_EQ(option_text("loglevel", number_value(-1), OutputFormat::table),
              "Name: loglevel\nValue: -1\n");
    WNBD_OPTION_VALUE text{};
    text.Type = WnbdOptWstr;
    text.Data.AsWstr[0] = u'\u00E9';
    EXPECT_EQ(option_text("x", text, OutputFormat::table), "Name: x\nValue: \xC3\xA9\n");
}

TEST(OptionText, NamesUnknownTypes) {
    WNBD_OPTION_VALUE unknown{};
    const int type = 7;  // of a driver newer than this client
    std::memcpy(&unknown.Type, &type, sizeof(unknown.Type));
    EXPECT_EQ(option_text("x", unknown, OutputFormat::table), "Name: x\nValue: UNKNOWN TYPE (7)\n");
    EXPECT_EQ(option_text("x", WNBD_OPTION_VALUE{}, OutputFormat::table),
              "Name: x\nValue: UNKNOWN TYPE (0)\n");
}

}  // namespace
}  // namespace wnbd::client
