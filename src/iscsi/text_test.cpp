// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/text.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using Bytes = std::vector<std::uint8_t>;
using test::bytes_of;
using test::text_of;

std::string fault_of(std::string_view text) {
    TextReader reader(text);
    while (reader.next()) {
    }
    return reader.fault();
}

TEST(Text, ReadsPairsInOrder) {
    const auto text = text_of({"A=1", "B=x=y", "C="});
    TextReader reader(text);
    auto pair = reader.next();
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->key, "A");
    EXPECT_EQ(pair->value, "1");
    pair = reader.next();
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->value, "x=y");
    pair = reader.next();
    ASSERT_TRUE(pair);
    EXPECT_EQ(pair->value, "");
    EXPECT_FALSE(reader.next());
    EXPECT_EQ(reader.fault(), "");
}

TEST(Text, ForgivesPaddingAndAMissingLastNul) {
    using namespace std::string_literals;
    EXPECT_EQ(fault_of(""), "");
    EXPECT_EQ(fault_of("\0\0\0"s), "");
    EXPECT_EQ(fault_of("A=1\0\0\0B=2"s), "");
}

TEST(Text, RefusesWhatIsNoText) {
    using namespace std::string_literals;
    EXPECT_EQ(fault_of("A"), "text without '=': \"A\"");
    EXPECT_EQ(fault_of("=1"), "no name of a key: \"\"");
    EXPECT_EQ(fault_of("A B=1"), "no name of a key: \"A B\"");
    EXPECT_EQ(fault_of("A=1\0\x01\xFF=2"s), "no name of a key: \"\\x01\\xff\"");
    EXPECT_EQ(fault_of("A=\x1b[2J"), "the value of A has control characters");
    EXPECT_EQ(fault_of(std::string(63, 'K') + "=1"), "");
    EXPECT_NE(fault_of(std::string(64, 'K') + "=1"), "");
}

TEST(Text, NothingFollowsAFault) {
    using namespace std::string_literals;
    const auto text = "A\0B=1\0"s;
    TextReader reader(text);
    EXPECT_FALSE(reader.next());
    EXPECT_FALSE(reader.next());
}

TEST(Text, PrintsHostileBytesHarmlessly) {
    EXPECT_EQ(printable("a\n\x7f\x80z"), "a\\x0a\\x7f\\x80z");
    EXPECT_EQ(printable(std::string(81, 'a')), std::string(80, 'a') + "...");
    EXPECT_LE(printable(std::string(1000, '\1')).size(), 86U);
}

TEST(Text, IsGatheredUpToALimit) {
    TextInput input;
    EXPECT_TRUE(input.append(bytes_of("A=")));
    EXPECT_TRUE(input.append(bytes_of("1")));
    EXPECT_EQ(input.text(), "A=1");
    EXPECT_TRUE(input.append(Bytes(text_limit - 3)));
    EXPECT_FALSE(input.append(Bytes(1)));
    EXPECT_EQ(input.text().size(), text_limit);
    input.clear();
    EXPECT_FALSE(input.append(Bytes(text_limit + 1)));
    EXPECT_EQ(input.text(), "");
}

TEST(Text, WritesWhatFitsOneSegment) {
    TextWriter writer;
    writer.put("A", "x");
    writer.put("B", 12);
    EXPECT_EQ(writer.text(), text_of({"A=x", "B=12"}));
    EXPECT_TRUE(writer.complete());
    const std::string rest(default_segment_length - writer.text().size() - 3, 'x');
    writer.put("C", rest);
    EXPECT_TRUE(writer.complete());
    EXPECT_EQ(writer.text().size(), default_segment_length);
    writer.put("D", "");
    EXPECT_FALSE(writer.complete());
    EXPECT_EQ(writer.text().size(), default_segment_length);
    writer.clear();
    EXPECT_TRUE(writer.complete());
    writer.put("C", rest + std::string(10, 'x'));
    EXPECT_FALSE(writer.complete());
    EXPECT_TRUE(writer.text().empty());
}

TEST(Text, Numbers) {
    EXPECT_EQ(parse_number("0"), 0U);
    EXPECT_EQ(parse_number("65535"), 65535U);
    EXPECT_EQ(parse_number("0x1fF"), 0x1FFU);
    EXPECT_EQ(parse_number("0X10"), 16U);
    EXPECT_EQ(parse_number("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(parse_number("0xffffffffffffffff"), UINT64_MAX);
    for (const auto* const wrong : {"", "-1", "+1", " 1", "1 ", "a", "0x", "0xg", "1e3", "0b11",
                                    "18446744073709551616", "0x10000000000000000"})
        EXPECT_FALSE(parse_number(wrong)) << wrong;
}

TEST(Text, Booleans) {
    EXPECT_EQ(parse_boolean("Yes"), true);
    EXPECT_EQ(parse_boolean("No"), false);
    for (const auto* const wrong : {"", "yes", "NO", "1", "Yes,No"})
        EXPECT_FALSE(parse_boolean(wrong)) << wrong;
}

TEST(Text, Lists) {
    EXPECT_TRUE(list_has("CRC32C,None", "None"));
    EXPECT_TRUE(list_has("None", "None"));
    EXPECT_FALSE(list_has("CRC32C,Nonesuch", "None"));
    EXPECT_FALSE(list_has("", "None"));
    std::string_view list = "a,,b";
    EXPECT_EQ(next_of_list(list), "a");
    EXPECT_EQ(next_of_list(list), "");
    EXPECT_EQ(next_of_list(list), "b");
    EXPECT_FALSE(next_of_list(list));
}

TEST(Text, BinaryValues) {
    EXPECT_EQ(parse_binary("0x0aFf", 2), (Bytes{0x0A, 0xFF}));
    EXPECT_EQ(parse_binary("0xabc", 2), (Bytes{0x0A, 0xBC}));
    EXPECT_EQ(parse_binary("0x0001", 2), (Bytes{0, 1}));
    EXPECT_EQ(parse_binary("0b", 9), std::nullopt);
    EXPECT_EQ(parse_binary("0bZm9vYmFy", 6), (Bytes{'f', 'o', 'o', 'b', 'a', 'r'}));
    EXPECT_EQ(parse_binary("0BZm9vYg==", 4), (Bytes{'f', 'o', 'o', 'b'}));
    EXPECT_EQ(parse_binary("0bZm9vYmE=", 5), (Bytes{'f', 'o', 'o', 'b', 'a'}));
    EXPECT_EQ(parse_binary("0b+/+/", 3), (Bytes{0xFB, 0xFF, 0xBF}));
    EXPECT_EQ(parse_binary("258", 8), (Bytes{1, 2}));
    EXPECT_EQ(parse_binary("0", 8), (Bytes{0}));
    for (const auto* const wrong :
         {"", "0x", "0b", "0xgg", "0b=", "0bZm9", "0bZm9v=", "0bZ===", "0bZm9*", "0bZm=v", "abc",
          "-1", "0x112233445566778899", "0bMTIzNDU2Nzg5"})
        EXPECT_FALSE(parse_binary(wrong, 8)) << wrong;
    EXPECT_EQ(binary_text(Bytes{0x00, 0xAB}), "0x00ab");
    EXPECT_EQ(parse_binary(binary_text(Bytes{0x00, 0xAB}), 2), (Bytes{0x00, 0xAB}));
}

TEST(Text, Names) {
    EXPECT_TRUE(is_iscsi_name("iqn.1991-05.com.microsoft:my_host"));
    EXPECT_TRUE(is_iscsi_name("eui.02004567A425678D"));
    EXPECT_TRUE(is_iscsi_name("naa.52004567BA64678D"));
    EXPECT_TRUE(is_iscsi_name("naa.62004567BA64678D0123456789ABCDEF"));
    EXPECT_TRUE(is_iscsi_name("iqn." + std::string(219, 'a')));
    for (const auto& wrong :
         {std::string("iqn."), std::string("disk"), std::string("eui.02004567A425678"),
          std::string("naa.62004567BA64678D0123"), std::string("iqn.2026-11.a:b c"),
          std::string("iqn.a\xC3\xA4"), "iqn." + std::string(220, 'a'), std::string()})
        EXPECT_FALSE(is_iscsi_name(wrong)) << wrong;
    EXPECT_TRUE(same_name("iqn.A", "IQN.a"));
    EXPECT_FALSE(same_name("iqn.a", "iqn.ab"));
    EXPECT_FALSE(same_name("iqn.a", "iqn.b"));
}

}  // namespace
}  // namespace wnbd::iscsi
