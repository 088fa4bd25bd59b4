// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <string>

namespace wnbd::client {
namespace {

using testing::ElementsAre;

TEST(Text, PaddingNeverShortens) {
    EXPECT_EQ(padded("ab", 4), "ab  ");
    EXPECT_EQ(padded("abcdef", 4), "abcdef");
}

TEST(Text, WrappingBreaksAtSpacesOnly) {
    EXPECT_THAT(wrapped("one two three", 7), ElementsAre("one two", "three"));
    EXPECT_THAT(wrapped("a longerthanfits b", 5), ElementsAre("a", "longerthanfits", "b"));
    EXPECT_THAT(wrapped("", 5), ElementsAre(""));
}

TEST(Text, BoundedTextStopsAtNulOrAtTheArraysEnd) {
    const std::array<char, 4> terminated{'a', 'b', '\0', 'x'};
    const std::array<char, 3> unterminated{'a', 'b', 'c'};
    EXPECT_EQ(bounded_text(terminated), "ab");
    EXPECT_EQ(bounded_text(unterminated), "abc");
}

TEST(Text, Utf16GoesToUtf8AndBack) {
    const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9D\x84\x9E";
    const auto units = utf16_from_utf8(text);
    EXPECT_THAT(units, ElementsAre(0x61, 0xE9, 0x20AC, 0xD834, 0xDD1E));
    EXPECT_EQ(utf8_from_utf16(std::span<const std::uint16_t>(units)), text);
}

TEST(Text, MalformedTextBecomesReplacementCharacters) {
    const std::array<std::uint16_t, 3> lone{0xD834, 'x', 0xDD1E};
    EXPECT_EQ(utf8_from_utf16(std::span<const std::uint16_t>(lone)), "\xEF\xBF\xBDx\xEF\xBF\xBD");
    EXPECT_THAT(utf16_from_utf8("\xFF"), ElementsAre(0xFFFD));
    EXPECT_THAT(utf16_from_utf8("\xC0\x80"), ElementsAre(0xFFFD, 0xFFFD));  // overlong NUL
    EXPECT_THAT(utf16_from_utf8("\xED\xA0\x80").front(), 0xFFFD);           // a surrogate
    EXPECT_THAT(utf16_from_utf8("\xF4\x90\x80\x80").front(), 0xFFFD);       // above 10FFFF
    EXPECT_THAT(utf16_from_utf8("\xE2\x82"), ElementsAre(0xFFFD, 0xFFFD));  // cut short
}

TEST(Text, NumbersAreDecimalAndBounded) {
    EXPECT_EQ(parse_number("0", 10), 0U);
    EXPECT_EQ(parse_number("010", 10), 10U);
    EXPECT_EQ(parse_number("18446744073709551615", std::numeric_limits<std::uint64_t>::max()),
              std::numeric_limits<std::uint64_t>::max());
    for (const char* bad :
         {"", "-1", "+1", " 1", "1 ", "0x10", "1e3", "11", "18446744073709551616"}) {
        EXPECT_EQ(parse_number(bad, 10), std::nullopt) << bad;
    }
}

TEST(Text, QuotesOnlyTheBeginningOfLongTexts) {
    EXPECT_EQ(in_quotes(""), "''");
    EXPECT_EQ(in_quotes(std::string(80, 'n')), "'" + std::string(80, 'n') + "'");
    EXPECT_EQ(in_quotes(std::string(81, 'n')), "'" + std::string(80, 'n') + "...'");
    // The character across the border goes as a whole.
    EXPECT_EQ(in_quotes(std::string(79, 'n') + "\xC3\xBC"), "'" + std::string(79, 'n') + "...'");
    EXPECT_EQ(in_quotes(std::string(200, '\x80')), "'...'");
}

TEST(Text, SizesTakeBinarySuffixes) {
    EXPECT_EQ(parse_size("512"), 512U);
    EXPECT_EQ(parse_size("1k"), 1024U);
    EXPECT_EQ(parse_size("64M"), std::uint64_t{64} << 20);
    EXPECT_EQ(parse_size("2G"), std::uint64_t{2} << 30);
    EXPECT_EQ(parse_size("3t"), std::uint64_t{3} << 40);
    EXPECT_EQ(parse_size("16777215T"), std::uint64_t{16777215} << 40);
    for (const char* bad : {"", "M", "1MB", "1.5G", "16777216T", "-1", "1 M"}) {
        EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
    }
}

}  // namespace
}  // namespace wnbd::client
