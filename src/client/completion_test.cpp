// SPDX-License-Identifier: LGPL-2.1-or-later
// PowerShell itself is not at hand here: what is checked is that the script has the whole command
// table, word by word, and that its quotes and brackets pair up.
#include "client/completion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "client/command_table.h"

namespace wnbd::client {
namespace {

std::string literal(std::string_view text) {
    std::string quoted(text);
    for (std::size_t at = 0; (at = quoted.find('\'', at)) != std::string::npos; at += 2)
        quoted.insert(at, 1, '\'');
    return "'" + quoted + "'";
}

/// Takes `part` away from the front of `script`, with what stands before it. False: it is not
/// there.
bool take(std::string_view& script, const std::string& part) {
    const std::size_t found = script.find(part);
    if (found == std::string_view::npos) return false;
    script.remove_prefix(found + part.size());
    return true;
}

void take_options(std::string_view& script, std::span<const OptionSpec> options) {
    for (const OptionSpec& option : options) {
        EXPECT_TRUE(take(script, "@{ Name = '--" + std::string(option.name) + "'")) << option.name;
        EXPECT_TRUE(
            take(script, option.kind == ValueKind::none ? "Takes = $false" : "Takes = $true"));
        for (const std::string_view value : known_values(option))
            EXPECT_TRUE(take(script, literal(value))) << option.name;
        EXPECT_TRUE(take(script, "Text = " + literal(option.description) + " }")) << option.name;
    }
}

TEST(PowershellCompletion, HasTheWholeCommandTableInItsOrder) {
    const std::string text = powershell_completion();
    std::string_view script = text;
    take_options(script, common_options());
    for (const CommandSpec& command : commands()) {
        for (const std::string_view name : command.names)
            EXPECT_TRUE(take(script, literal(name))) << name;
        EXPECT_TRUE(take(script, "Text = " + literal(command.description) + "\n"));
        EXPECT_TRUE(take(script, "Positionals = @("));
        take_options(script, command.positionals);
        EXPECT_TRUE(take(script, "Options = @("));
        take_options(script, command.options);
    }
}

TEST(PowershellCompletion, AsksForWhatItCannotKnow) {
    const std::string script = powershell_completion();
    const auto has = [&script](std::string_view part) {
        return script.find(part) != std::string::npos;
    };
    EXPECT_TRUE(has("Name = '--instance-name'; Takes = $true; Source = 'disk'"));
    EXPECT_TRUE(has("Name = '--name'; Takes = $true; Source = 'option-name'"));
    EXPECT_TRUE(has("Name = '--value'; Takes = $true; Source = 'option-value'"));
    EXPECT_TRUE(has("Name = '--command-name'; Takes = $true; Source = 'command'"));
    EXPECT_TRUE(has("Source = ''; Known = @('table', 'json')"));
    // A disk that is to be mapped has no name yet that could be offered.
    const std::size_t map = script.find("Names = @('map')");
    EXPECT_EQ(script.substr(map, script.find("Names = @('unmap'") - map).find("'disk'"),
              std::string::npos);
    for (const char* question : {"'list'", "'list-opt'"})
        EXPECT_NE(find_command(
                      std::string_view(question).substr(1, std::string_view(question).size() - 2)),
                  nullptr);
}

/// PowerShell's lexical rules, as far as the script uses them: comments, both kinds of strings (a
/// doubled quote stands for itself), brackets.
std::string unpaired(std::string_view script) {
    std::string open;
    for (std::size_t i = 0; i < script.size(); ++i) {
        const char character = script[i];
        if (character == '#') {
            i = std::min(script.find('\n', i), script.size());
        } else if (character == '\'' || character == '"') {
            const std::size_t end = script.find(character, i + 1);
            if (end == std::string_view::npos)
                return "a string that begins at " + std::to_string(i);
            i = end;
        } else if (character == '(' || character == '{' || character == '[') {
            open += character == '(' ? ')' : character == '{' ? '}' : ']';
        } else if (character == ')' || character == '}' || character == ']') {
            if (!open.ends_with(character)) return "a bracket at " + std::to_string(i);
            open.pop_back();
        }
    }
    return open;
}

TEST(PowershellCompletion, QuotesAndBracketsPairUp) {
    EXPECT_EQ(unpaired(powershell_completion()), "");
    EXPECT_NE(unpaired("@('a)"), "");
    EXPECT_NE(unpaired("@{ a = (1 }"), "");
    EXPECT_EQ(unpaired("@('it''s', \"'\") # '"), "");
}

TEST(PowershellCompletion, IsPlainAscii) {
    // Windows PowerShell reads what a program prints in the console's code page.
    for (const char character : powershell_completion())
        EXPECT_TRUE(character == '\n' || (character >= ' ' && character <= '~'));
}

}  // namespace
}  // namespace wnbd::client
