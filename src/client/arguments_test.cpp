// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/arguments.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;

Result<Arguments, UsageError> parse(std::string_view command, const Words& words) {
    return parse_arguments(*find_command(command), words);
}

struct Refused {
    std::string_view command;
    Words words;
    std::string_view text;
};

TEST(Arguments, PositionalsAndOptionsInterleave) {
    const auto parsed =
        parse("map", {"--port", "10", "disk", "--read-only", "server", "--export-name=a b"});
    ASSERT_TRUE(parsed.ok()) << parsed.error().text;
    const Arguments& arguments = parsed.value();
    EXPECT_EQ(arguments.text("instance-name"), "disk");
    EXPECT_EQ(arguments.text("hostname"), "server");
    EXPECT_EQ(arguments.number("port", 0), 10U);
    EXPECT_EQ(arguments.text("export-name"), "a b");
    EXPECT_TRUE(arguments.has("read-only"));
    EXPECT_FALSE(arguments.has("debug"));
    EXPECT_EQ(arguments.number("block-size", 7), 7U);
}

TEST(Arguments, PositionalsHaveLongNames) {
    const auto parsed = parse("map", {"--hostname", "server", "--instance-name=disk"});
    ASSERT_TRUE(parsed.ok()) << parsed.error().text;
    EXPECT_EQ(parsed.value().text("instance-name"), "disk");
    EXPECT_EQ(parsed.value().text("hostname"), "server");

    const auto mixed = parse("map", {"--instance-name=disk", "server"});
    ASSERT_TRUE(mixed.ok()) << mixed.error().text;
    EXPECT_EQ(mixed.value().text("hostname"), "server");
}

TEST(Arguments, UnambiguousPrefixesAreTaken) {
    const auto parsed =
        parse("map", {"disk", "--hostn", "server", "--po=1", "--sk", "--disk-s", "4096"});
    ASSERT_TRUE(parsed.ok()) << parsed.error().text;
    EXPECT_EQ(parsed.value().text("hostname"), "server");
    EXPECT_EQ(parsed.value().number("port", 0), 1U);
    EXPECT_EQ(parsed.value().number("disk-size", 0), 4096U);
    EXPECT_TRUE(parsed.value().has("skip-handshake"));
}

TEST(Arguments, OptionsOfOursDoNotChangeOldPrefixes) {
    const auto hostname = parse("map", {"disk", "--h", "server"});
    ASSERT_TRUE(hostname.ok()) << hostname.error().text;
    EXPECT_EQ(hostname.value().text("hostname"), "server");
    const auto hard = parse("unmap", {"disk", "--ha"});
    ASSERT_TRUE(hard.ok()) << hard.error().text;
    EXPECT_TRUE(hard.value().has("hard-disconnect"));
    const auto file = parse("install-driver", {"--f", "wnbd.inf"});
    ASSERT_TRUE(file.ok()) << file.error().text;
    EXPECT_EQ(file.value().text("filename"), "wnbd.inf");
}

TEST(Arguments, WhoeverMayBeAskingForHelpLosesNoData) {
    const auto unmap = parse("unmap", {"disk", "--h"});
    ASSERT_FALSE(unmap.ok());
    EXPECT_EQ(unmap.error().text,
              "option '--h' is ambiguous and matches '--hard-disconnect', and '--help'");
    const auto reset = parse("reset-adapter", {"--h"});
    ASSERT_FALSE(reset.ok());
    EXPECT_EQ(reset.error().text,
              "option '--h' is ambiguous and matches '--hard-disconnect-mappings', and '--help'");
    for (const char* word : {"--h", "--he", "--hel"}) {
        const auto list = parse("list", {word});
        ASSERT_TRUE(list.ok()) << list.error().text;
        EXPECT_TRUE(list.value().has("help"));
    }
    const auto help = parse("unmap", {"--he"});
    ASSERT_TRUE(help.ok()) << help.error().text;
    EXPECT_TRUE(help.value().has("help"));
}

TEST(Arguments, OddTextsArriveUnchanged) {
    for (const char* text :
         {"++", "-", "{}", "[a,b]", "%%", "a=b", "/x", "--", "", "a\nb", "\xFF"}) {
        const auto parsed = parse("show", {"--", text});
        ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.error().text;
        EXPECT_EQ(parsed.value().text("instance-name"), text);
    }
    for (const char* text : {"++", "-", "-x", "-1", "{}", "[a,b]", "%%", "a=b", "/x", ""}) {
        const auto parsed = parse("map", {"disk", "server", "--export-name", text});
        ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.error().text;
        EXPECT_TRUE(parsed.value().has("export-name"));
        EXPECT_EQ(parsed.value().text("export-name"), text);
        EXPECT_EQ(parsed.value().text("hostname"), "server");
    }
    const auto slash = parse("show", {"/x"});
    ASSERT_TRUE(slash.ok()) << slash.error().text;
    EXPECT_EQ(slash.value().text("instance-name"), "/x");
}

TEST(Arguments, HelpExcusesWhatIsMissing) {
    for (const char* word : {"--help", "-h"}) {
        const auto parsed = parse("map", {word});
        ASSERT_TRUE(parsed.ok()) << parsed.error().text;
        EXPECT_TRUE(parsed.value().has("help"));
    }
}

TEST(Arguments, FormatIsTableUnlessJson) {
    EXPECT_EQ(parse("list", {}).value().format(), OutputFormat::table);
    EXPECT_EQ(parse("list", {"--format", "table"}).value().format(), OutputFormat::table);
    EXPECT_EQ(parse("list", {"--format=json"}).value().format(), OutputFormat::json);
}

TEST(Arguments, TheDefaultFormatGivesWay) {
    const CommandSpec& list = *find_command("list");
    const auto format = [&list](const Words& words) {
        return parse_arguments(list, words, OutputFormat::json).value().format();
    };
    EXPECT_EQ(format({}), OutputFormat::json);
    EXPECT_EQ(format({"--format", "table"}), OutputFormat::table);
}

TEST(Arguments, WrongWordsStillTellTheirFormat) {
    const auto format = [](const Words& words) {
        return format_of_words(words, OutputFormat::table);
    };
    EXPECT_EQ(format({"nope", "--nope", "--format", "json"}), OutputFormat::json);
    EXPECT_EQ(format({"list", "--format=json", "x"}), OutputFormat::json);
    EXPECT_EQ(format({"list", "--format=xml"}), OutputFormat::table);
    EXPECT_EQ(format({"list", "--format"}), OutputFormat::table);
    EXPECT_EQ(format({"show", "--", "--format", "json"}), OutputFormat::table);
    EXPECT_EQ(format_of_words(Words{"list", "--format=table"}, OutputFormat::json),
              OutputFormat::table);
}

TEST(Arguments, RepeatedSwitchesCountOnce) {
    const auto parsed = parse("list", {"--debug", "--debug"});
    ASSERT_TRUE(parsed.ok()) << parsed.error().text;
    EXPECT_TRUE(parsed.value().has("debug"));
}

TEST(Arguments, FaultsAreNamed) {
    const std::vector<Refused> table{
        {"list", {"x"}, "too many arguments"},
        {"map", {"a", "b", "c"}, "too many arguments"},
        {"show", {}, "the option '--instance-name' is required but missing"},
        {"set-opt", {"LogLevel"}, "the option '--value' is required but missing"},
        {"list", {"--nope"}, "unrecognised option '--nope'"},
        {"list", {"--nope=1"}, "unrecognised option '--nope'"},
        {"list", {"-x"}, "unrecognised option '-x'"},
        {"map", {"a", "b", "--file-x"}, "unrecognised option '--file-x'"},
        {"list", {"--form", "json"}, "unrecognised option '--form'"},
        {"unmap",
         {"a", "--soft-disconnect", "1"},
         "option '--soft-disconnect' is ambiguous and matches '--soft-disconnect-timeout', and "
         "'--soft-disconnect-retry-interval'"},
        {"map", {"a", "b", "--port"}, "the required argument for option '--port' is missing"},
        {"map",
         {"a", "b", "--port", "--debug"},
         "the required argument for option '--port' is missing"},
        {"map",
         {"a", "b", "--port="},
         "the argument for option '--port' should follow immediately after the equal sign"},
        {"map", {"a", "b", "--port", "x"}, "the argument ('x') for option '--port' is invalid"},
        {"map", {"a", "b", "--port", ""}, "the argument ('') for option '--port' is invalid"},
        {"map", {"a", "b", "--port", "-1"}, "the argument ('-1') for option '--port' is invalid"},
        {"map",
         {"a", "b", "--port=4294967296"},
         "the argument ('4294967296') for option '--port' is invalid"},
        {"map",
         {"a", "b", "--disk-size=18446744073709551616"},
         "the argument ('18446744073709551616') for option '--disk-size' is invalid"},
        {"map", {"a", "--memory", "1X"}, "the argument ('1X') for option '--memory' is invalid"},
        {"map",
         {"a", "b", "--port=1", "--port=2"},
         "option '--port' cannot be specified more than once"},
        {"show", {"a", "--instance-name=b"}, "too many arguments"},
        {"list", {"--debug=1"}, "option '--debug' does not take any arguments"},
        {"list", {"--format", "xml"}, "the argument ('xml') for option '--format' is invalid"},
    };
    for (const Refused& refused : table) {
        const auto parsed = parse(refused.command, refused.words);
        ASSERT_FALSE(parsed.ok()) << refused.text;
        EXPECT_EQ(parsed.error().text, refused.text);
    }
}

TEST(Arguments, CommandsAreFoundByExactNameOnly) {
    EXPECT_EQ(find_command("rm"), find_command("unmap"));
    EXPECT_EQ(find_command("ls"), find_command("list"));
    EXPECT_EQ(find_command("-v"), find_command("version"));
    EXPECT_EQ(find_command("--help"), find_command("-h"));
    EXPECT_EQ(find_command("List"), nullptr);
    EXPECT_EQ(find_command("li"), nullptr);
    EXPECT_EQ(find_command(""), nullptr);
}

}  // namespace
}  // namespace wnbd::client
