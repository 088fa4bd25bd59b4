// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "client/command_table.h"

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;

const KnownNames names{
    [] { return Words{"disk0", "my disk", "it's", "Data", "tab\there", ""}; },
    [] { return std::vector<KnownOption>{{"LogLevel", false}, {"NewMappingsAllowed", true}}; },
};

std::string field(const std::string& line, std::size_t wanted) {
    std::size_t begin = 0;
    for (; wanted != 0; --wanted)
        begin = line.find('\t', begin) + 1;
    return line.substr(begin, line.find('\t', begin) - begin);
}

/// One field of each candidate: 0 is what is typed, 1 what is listed, 2 its kind, 3 the tip.
Words offered(const std::string& text, std::size_t wanted = 0) {
    std::string lines = candidate_lines(text, names);
    Words found;
    for (std::size_t end; (end = lines.find('\n')) != std::string::npos; lines.erase(0, end + 1)) {
        const std::string line = lines.substr(0, end);
        EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), 3) << line;
        for (std::size_t each = 0; each < 4; ++each)
            EXPECT_NE(field(line, each), "") << line;  // PowerShell takes no empty one
        found.push_back(field(line, wanted));
    }
    EXPECT_EQ(lines, "");
    return found;
}

TEST(Candidates, CommandsAreOfferedByTheirBeginning) {
    EXPECT_EQ(offered("wnbd-client re"),
              (Words{"resize", "reset-opt", "reset-adapter", "reload-config"}));
    EXPECT_EQ(offered("wnbd-client RM"), Words{"rm"});
    EXPECT_EQ(offered("wnbd-client re", 2)[0], "Command");
    EXPECT_EQ(offered("wnbd-client resi", 3), Words{"Tell Windows that a disk has another size."});
    std::size_t all = 0;
    for (const CommandSpec& command : commands())
        all += command.names.size();
    EXPECT_EQ(offered("wnbd-client ").size(), all);
    EXPECT_EQ(offered("wnbd-client"), Words{}) << "the program's own name is not ours";
    EXPECT_EQ(offered("wnbd-client nonsense "), Words{});
    EXPECT_EQ(offered(""), Words{});
}

TEST(Candidates, DisksAreOfferedWhereADiskIsNamed) {
    const Words all{"disk0", "'my disk'", "'it''s'", "Data"};
    EXPECT_EQ(offered("wnbd-client show "), all);
    EXPECT_EQ(offered("wnbd-client show ", 1), (Words{"disk0", "my disk", "it's", "Data"}));
    EXPECT_EQ(offered("wnbd-client rm D"), (Words{"disk0", "Data"}));
    EXPECT_EQ(offered("wnbd-client show 'my"), Words{"'my disk'"});
    EXPECT_EQ(offered("wnbd-client show --instance-name m"), Words{"'my disk'"});
    EXPECT_EQ(offered("wnbd-client show --instance-name=m"), Words{"'--instance-name=my disk'"});
    EXPECT_EQ(offered("wnbd-client show --debug disk"), Words{"disk0"});
    EXPECT_EQ(offered("wnbd-client show -- disk"), Words{"disk0"});
    EXPECT_EQ(offered("wnbd-client map "), Words{}) << "a new disk has no name yet";
    EXPECT_EQ(offered("wnbd-client show disk0 "), offered("wnbd-client show disk0 --"));
}

TEST(Candidates, OptionsAreOfferedBehindADashOrWhenNothingElseIsLeft) {
    EXPECT_EQ(offered("wnbd-client list "), (Words{"--debug", "--format", "--help"}));
    EXPECT_EQ(offered("wnbd-client map --p"), (Words{"--port", "--physical-block-size"}));
    EXPECT_EQ(offered("wnbd-client map --p", 2)[0], "ParameterName");
    EXPECT_EQ(offered("wnbd-client list --format "), (Words{"table", "json"}));
    EXPECT_EQ(offered("wnbd-client list --format=j"), Words{"--format=json"});
    EXPECT_EQ(offered("wnbd-client list --format json -"), offered("wnbd-client list -"));
    EXPECT_EQ(offered("wnbd-client map --port "), Words{});
    EXPECT_EQ(offered("wnbd-client map --tls "), (Words{"require", "prefer", "off"}));
    EXPECT_EQ(offered("wnbd-client serve t --on-timeout h"), Words{"hold"});
    EXPECT_EQ(offered("wnbd-client nbd-info --"),
              (Words{"--list", "--map", "--debug", "--format", "--help"}));
    EXPECT_EQ(offered("wnbd-client map --nonsense="), Words{});
    EXPECT_EQ(offered("wnbd-client list -- "), Words{}) << "no option follows `--`";
}

TEST(Candidates, DriverOptionsAndTheirValuesAreOffered) {
    EXPECT_EQ(offered("wnbd-client get-opt "), (Words{"LogLevel", "NewMappingsAllowed"}));
    EXPECT_EQ(offered("wnbd-client set-opt NewMappingsAllowed "), (Words{"true", "false"}));
    EXPECT_EQ(offered("wnbd-client set-opt --name NewMappingsAllowed --value f"), Words{"false"});
    EXPECT_EQ(offered("wnbd-client set-opt LogLevel "), Words{});
}

TEST(Candidates, WhatIsAFileIsLeftToPowerShell) {
    EXPECT_EQ(offered("wnbd-client install-driver "), Words{});
    EXPECT_EQ(offered("wnbd-client map d --file "), Words{});
    EXPECT_EQ(offered("wnbd-client help re"),
              (Words{"resize", "reset-opt", "reset-adapter", "reload-config"}));
}

TEST(Candidates, LinesAreTakenApartAsPowerShellDoes) {
    const auto split = [](std::string_view text) {
        PowershellWords words = split_powershell(text);
        words.complete.push_back(words.typed);
        return words.complete;
    };
    EXPECT_EQ(split("a  b\tc"), (Words{"a", "b", "c"}));
    EXPECT_EQ(split("a b "), (Words{"a", "b", ""}));
    EXPECT_EQ(split("'it''s' x"), (Words{"it's", "x"}));
    EXPECT_EQ(split("\"a \"\"b`\"\" '' x"), (Words{"a \"b\"", "", "x"}));
    EXPECT_EQ(split("a` b `'c 'd` '"), (Words{"a b", "'c", "d` "}));
    EXPECT_EQ(split("x--y='a b"), Words{"x--y=a b"});
    EXPECT_EQ(split("\xE2\x80\x99"
                    "a b\xE2\x80\x98 c`"),
              (Words{"a b", "c`"}));
    EXPECT_EQ(split("\xE2\x80\x9C"
                    "a b\" c"),
              (Words{"a b", "c"}));
    EXPECT_EQ(split("'a\xE2\x80\x98\xE2\x80\x98"
                    "b' \xE2\x80"),
              (Words{"a\xE2\x80\x98"
                     "b",
                     "\xE2\x80"}));
}

TEST(Candidates, WhatIsOfferedIsReadBackAsItself) {
    for (const std::string name : {"plain", "two words", "it's", "\xE2\x80\x99", "a\"b", "$(x)",
                                   "`n", "p\xC3\xAB", "a;b|c", "-odd", "@x", "#x", "'", "''"}) {
        const KnownNames one{[&] { return Words{name}; },
                             [] { return std::vector<KnownOption>{}; }};
        const std::string line = candidate_lines("wnbd-client show ", one);
        EXPECT_EQ(split_powershell(field(line, 0)).typed, name) << line;
        // Whatever is special to PowerShell stands between single quotes.
        const bool special = name.find_first_of("$`;|@#\"'( ") != std::string::npos;
        EXPECT_TRUE(!special || line.starts_with('\'')) << line;
    }
}

}  // namespace
}  // namespace wnbd::client
