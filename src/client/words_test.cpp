// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;

struct Line {
    std::string_view text;
    Words words;
};

// The first seven are the examples of Microsoft's documentation, "Parsing C command-line
// arguments".
TEST(Words, AreThoseOfTheCRuntime) {
    const std::vector<Line> lines{
        {R"("abc" d e)", {"abc", "d", "e"}},
        {R"(a\\\b d"e f"g h)", {R"(a\\\b)", "de fg", "h"}},
        {R"(a\\\"b c d)", {R"(a\"b)", "c", "d"}},
        {R"(a\\\\"b c" d e)", {R"(a\\b c)", "d", "e"}},
        {R"(a"b"" c d)", {R"(ab" c d)"}},
        {R"("abc")", {"abc"}},
        {R"("")", {""}},
        {"", {}},
        {" \t ", {}},
        {"  list \t --debug  ", {"list", "--debug"}},
        {R"(map d --file "C:\My Images\a.img")", {"map", "d", "--file", R"(C:\My Images\a.img)"}},
        {R"(map d --file C:\dir\)", {"map", "d", "--file", R"(C:\dir\)"}},
        {R"(show "it's \"it\"")", {"show", R"(it's "it")"}},
        {R"(show "no end)", {"show", "no end"}},
        {R"(show 'a b')", {"show", "'a", "b'"}},
        {R"(show "" x)", {"show", "", "x"}},
        {R"(\)", {R"(\)"}},
        {R"(\\")", {R"(\)"}},
    };
    for (const Line& line : lines)
        EXPECT_EQ(split_words(line.text), line.words) << line.text;
}

TEST(Words, TheProgramsNameIsLeftOut) {
    EXPECT_EQ(split_command_line(R"(wnbd-client.exe list)"), (Words{"list"}));
    EXPECT_EQ(split_command_line(R"("C:\Program Files\WNBD\wnbd-client.exe" show "a b")"),
              (Words{"show", "a b"}));
    EXPECT_EQ(split_command_line(R"("C:\odd\"list)"), Words{});
    EXPECT_EQ(split_command_line(R"("C:\odd\" list)"), (Words{"list"}));
    EXPECT_EQ(split_command_line(""), Words{});
    EXPECT_EQ(split_command_line("wnbd-client"), Words{});
}

}  // namespace
}  // namespace wnbd::client
