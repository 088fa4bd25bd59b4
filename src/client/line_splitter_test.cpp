// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/line_splitter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace wnbd::client {
namespace {

std::vector<std::string> lines_of(LineSplitter& splitter) {
    std::vector<std::string> lines;
    while (const auto line = splitter.next())
        lines.push_back(line->text);
    return lines;
}

TEST(LineSplitter, GivesLinesHoweverTheBytesCome) {
    const std::string text = "\xEF\xBB\xBFlist\r\n\nshow \"a b\"\r\n \xEF\xBB\xBFx\nlast";
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{2}, std::size_t{7}, text.size()}) {
        LineSplitter splitter;
        for (std::size_t i = 0; i < text.size(); i += chunk)
            splitter.feed(std::string_view(text).substr(i, chunk));
        EXPECT_EQ(lines_of(splitter).size(), 4U);
        splitter.end();
        EXPECT_EQ(lines_of(splitter), std::vector<std::string>{"last"}) << chunk;
    }
    LineSplitter splitter;
    splitter.feed(text);
    EXPECT_EQ(lines_of(splitter),
              (std::vector<std::string>{"list", "", "show \"a b\"", " \xEF\xBB\xBFx"}));
}

TEST(LineSplitter, NothingIsNoLine) {
    LineSplitter splitter;
    splitter.feed("");
    splitter.end();
    EXPECT_FALSE(splitter.next().has_value());
}

TEST(LineSplitter, LongLinesAreCutAndTheNextOneIsWhole) {
    LineSplitter splitter;
    splitter.feed(std::string(LineSplitter::length_max, 'a') + "\n");
    splitter.feed(std::string(LineSplitter::length_max + 1, 'b'));
    splitter.feed(std::string(LineSplitter::length_max, 'c') + "\nlist\n");
    const auto exact = splitter.next();
    ASSERT_TRUE(exact.has_value());
    EXPECT_FALSE(exact->too_long);
    const auto cut = splitter.next();
    ASSERT_TRUE(cut.has_value());
    EXPECT_TRUE(cut->too_long);
    EXPECT_EQ(cut->text, std::string(LineSplitter::length_max, 'b'));
    const auto next = splitter.next();
    ASSERT_TRUE(next.has_value());
    EXPECT_EQ(next->text, "list");
    EXPECT_FALSE(next->too_long);
}

}  // namespace
}  // namespace wnbd::client
