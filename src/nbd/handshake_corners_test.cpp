// SPDX-License-Identifier: LGPL-2.1-or-later
// Negotiations that take a turn: what was said before it does not count any more.
#include <gtest/gtest.h>

#include <vector>

#include "nbd/test_handshake.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Talk;
using test::Wire;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t mebibyte = 1U << 20;

Wire reply(Option option, OptionReply type, const Wire& payload = {}) {
    return test::option_reply_header(static_cast<std::uint32_t>(type),
                                     static_cast<std::uint32_t>(payload.bytes().size()), option)
        .append(payload);
}

Wire allocation(std::uint32_t id) {
    return reply(Option::set_meta_context, OptionReply::meta_context,
                 Wire().put(id).text("base:allocation"));
}

Wire agreed() {
    return test::export_info(mebibyte).append(test::ack());
}

/// The last option asked for, without data.
bool ends_with_option(const Bytes& said, Option option) {
    const auto wanted = Wire()
                            .put(option_magic)
                            .put(static_cast<std::uint32_t>(option))
                            .put<std::uint32_t>(0)
                            .bytes();
    return said.size() >= wanted.size() &&
           std::equal(wanted.rbegin(), wanted.rend(), said.rbegin());
}

TEST(Handshake, AServerThatShutsDownIsAskedForNothingMore) {
    for (const auto option : {Option::starttls, Option::extended_headers}) {
        Talk talk({.export_name = "disk",
                   .tls = option == Option::starttls ? TlsMode::prefer : TlsMode::off});
        talk.feed(test::greeting().append(reply(option, OptionReply::error_shutdown)).bytes());
        EXPECT_EQ(talk.handshake.fault().code, FaultCode::refused);
        EXPECT_TRUE(ends_with_option(talk.said, Option::abort));
    }
}

TEST(Handshake, AContextThatIsTakenBackIsNone) {
    Talk talk({.export_name = "disk"});
    talk.feed(test::greeting()
                  .append(reply(Option::extended_headers, OptionReply::ack))
                  .append(allocation(42))
                  .append(reply(Option::set_meta_context, OptionReply::error_invalid))
                  .append(agreed())
                  .bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_FALSE(talk.handshake.agreement().allocation_context.has_value());
}

TEST(Handshake, WhatWasToldBeforeARefusalOfGoDoesNotCount) {
    Talk talk;
    talk.feed(test::greeting()
                  .append(test::block_size_info(4096, 4096, 65536))
                  .append(test::option_reply(OptionReply::info, Wire().put(info_name).text("x")))
                  .append(reply(Option::go, OptionReply::error_unsupported))
                  .put(mebibyte)
                  .put<std::uint16_t>(transmission_read_only)
                  .bytes());
    ASSERT_TRUE(talk.handshake.done());
    const auto& info = talk.handshake.agreement().info;
    EXPECT_EQ(info.minimum_block, 1U);
    EXPECT_EQ(info.maximum_payload, default_maximum_payload);
    EXPECT_EQ(info.canonical_name, "");
    EXPECT_EQ(info.transmission_flags, 0) << "without HAS_FLAGS they mean nothing";
}

TEST(Handshake, TheLongestReplyIsTaken) {
    Talk talk;
    talk.feed(
        test::greeting()
            .append(test::option_reply(
                OptionReply::info, Wire().put(info_description).fill(max_option_reply - 2, 'd')))
            .append(agreed())
            .bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.agreement().info.description.size(), max_option_reply - 2);
}

TEST(Handshake, RepliesAreCountedForEachOptionAlone) {
    Talk talk({.export_name = "disk"});
    Wire server = test::greeting()
                      .append(reply(Option::extended_headers, OptionReply::error_unsupported))
                      .append(reply(Option::structured_reply, OptionReply::ack))
                      .append(allocation(1))
                      .append(reply(Option::set_meta_context, OptionReply::ack));
    for (unsigned i = 0; i < max_option_replies - 2; ++i)
        server.append(test::option_reply(OptionReply::info, Wire().put<std::uint16_t>(9)));
    talk.feed(server.append(agreed()).bytes());
    EXPECT_TRUE(talk.handshake.done()) << describe(talk.handshake.fault());
}

TEST(Handshake, InformationNeedsNoContexts) {
    Talk talk({.export_name = "disk", .goal = Goal::info});
    talk.feed(test::greeting()
                  .append(reply(Option::extended_headers, OptionReply::ack))
                  .append(reply(Option::info, OptionReply::info,
                                Wire().put(info_export).put(mebibyte).put<std::uint16_t>(1)))
                  .append(reply(Option::info, OptionReply::ack))
                  .bytes());
    EXPECT_TRUE(talk.handshake.done()) << describe(talk.handshake.fault());
}

TEST(Handshake, ARefusalToListContextsIsNoEmptyList) {
    const auto talk_until = [](OptionReply answer) {
        Talk talk({.export_name = "disk", .goal = Goal::list_contexts});
        talk.feed(test::greeting()
                      .append(reply(Option::extended_headers, OptionReply::ack))
                      .append(reply(Option::list_meta_context, answer))
                      .bytes());
        return talk.handshake.fault().code;
    };
    EXPECT_EQ(talk_until(OptionReply::error_unsupported), FaultCode::none);
    EXPECT_EQ(talk_until(OptionReply::error_policy), FaultCode::refused);
    EXPECT_EQ(talk_until(OptionReply::error_unknown), FaultCode::refused);
}

TEST(Handshake, APreferredBlockIsAPowerOfTwo) {
    Talk talk;
    talk.feed(test::greeting()
                  .append(test::export_info(mebibyte))
                  .append(test::block_size_info(512, 5000, 65536))
                  .append(test::ack())
                  .bytes());
    EXPECT_EQ(talk.handshake.fault().code, FaultCode::bad_block_size);
    EXPECT_EQ(talk.handshake.fault().text, "preferred");
}

TEST(Handshake, AServersTextIsPrintable) {
    EXPECT_EQ(printable("a~\x7f\x80\x1f b"), "a~??? b");
}

}  // namespace
}  // namespace wnbd::nbd
