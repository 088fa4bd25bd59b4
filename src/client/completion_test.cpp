// SPDX-License-Identifier: LGPL-2.1-or-later
// PowerShell itself is not at hand here: what is checked is that the script asks for what the
// client has, and that its quotes and brackets pair up. What it offers: candidates_test.cpp.
#include "client/completion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "client/arguments.h"

namespace wnbd::client {
namespace {

TEST(PowershellCompletion, AsksTheClientForItsCandidates) {
    const std::string_view script = powershell_completion();
    EXPECT_NE(script.find("& $client completion powershell --candidates 2>$null |"),
              std::string_view::npos);
    const std::vector<std::string> words{"powershell", "--candidates"};
    const auto read = parse_arguments(*find_command("completion"), words);
    ASSERT_TRUE(read);
    EXPECT_TRUE(read.value().has("candidates"));
    EXPECT_NE(script.find("$env:" + std::string(completion_line_variable) + " = "),
              std::string_view::npos);
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
