// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nbd/test_handshake.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::bare;
using test::go_request;
using test::Talk;
using test::Wire;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t mebibyte = 1U << 20;

Wire good_server() {
    return test::greeting()
        .append(test::export_info(mebibyte, transmission_has_flags | transmission_send_flush))
        .append(test::block_size_info(512, 4096, 65536))
        .append(test::ack());
}

Fault fault_after(const Wire& server) {
    Talk talk;
    talk.feed(server.bytes());
    EXPECT_TRUE(talk.handshake.failed());
    // A failure says one line.
    EXPECT_THAT(describe(talk.handshake.fault()), ::testing::Not(HasSubstr("\n")));
    return talk.handshake.fault();
}

TEST(Handshake, GoGivesSizeFlagsAndBlockSizes) {
    Talk talk;
    talk.feed(good_server().bytes());
    ASSERT_TRUE(talk.handshake.done());
    const auto& info = talk.handshake.agreement().info;
    EXPECT_EQ(info.size, mebibyte);
    EXPECT_EQ(info.transmission_flags, transmission_has_flags | transmission_send_flush);
    EXPECT_EQ(info.minimum_block, 512U);
    EXPECT_EQ(info.preferred_block, 4096U);
    EXPECT_EQ(info.maximum_payload, 65536U);
    auto expected = Wire().put<std::uint32_t>(flag_fixed_newstyle | flag_no_zeroes).bytes();
    const auto go = go_request("disk");
    expected.insert(expected.end(), go.begin(), go.end());
    EXPECT_EQ(talk.said, expected);
}

TEST(Handshake, ResultDoesNotDependOnHowTheBytesArrive) {
    const auto server = good_server().bytes();
    for (std::size_t split = 0; split <= server.size(); ++split) {
        Talk talk;
        talk.feed(std::span(server).first(split));
        EXPECT_EQ(talk.handshake.done(), split == server.size());
        talk.feed(std::span(server).subspan(split));
        EXPECT_TRUE(talk.handshake.done()) << split;
        EXPECT_EQ(talk.handshake.agreement().info.maximum_payload, 65536U);
    }
    Talk talk;
    for (const auto& byte : server)
        EXPECT_EQ(talk.feed({&byte, 1}), 1U);
    EXPECT_TRUE(talk.handshake.done());
}

TEST(Handshake, BytesBeyondTheEndAreLeftOver) {
    auto server = good_server();
    const auto length = server.bytes().size();
    server.text("transmission");
    Talk talk;
    EXPECT_EQ(talk.feed(server.bytes()), length);
    EXPECT_TRUE(talk.handshake.done());
}

TEST(Handshake, ServerWithoutGoGetsExportName) {
    for (const bool zeroes : {false, true}) {
        const std::uint16_t flags = flag_fixed_newstyle | (zeroes ? 0 : flag_no_zeroes);
        Wire server = test::greeting(flags);
        server.append(test::option_reply(OptionReply::error_unsupported, Wire().text("no GO")));
        server.put(mebibyte).put<std::uint16_t>(transmission_has_flags | transmission_read_only);
        if (zeroes) server.fill(124, 0);
        Talk talk;
        EXPECT_EQ(talk.feed(server.bytes()), server.bytes().size());
        ASSERT_TRUE(talk.handshake.done());
        EXPECT_EQ(talk.handshake.agreement().info.size, mebibyte);
        EXPECT_EQ(talk.handshake.agreement().info.minimum_block, 1U);
        EXPECT_NE(talk.handshake.agreement().info.transmission_flags & transmission_read_only, 0);
        const auto option = Wire()
                                .put(option_magic)
                                .put(static_cast<std::uint32_t>(Option::export_name))
                                .put<std::uint32_t>(4)
                                .text("disk")
                                .bytes();
        ASSERT_GE(talk.said.size(), option.size());
        EXPECT_EQ(
            Bytes(talk.said.end() - static_cast<std::ptrdiff_t>(option.size()), talk.said.end()),
            option);
    }
}

TEST(Handshake, PlainNewstyleServerIsNeverAskedForGo) {
    Talk talk;
    talk.feed(test::greeting(0).put(mebibyte).put<std::uint16_t>(0).fill(124, 0).bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.said, Wire()
                             .put<std::uint32_t>(0)
                             .put(option_magic)
                             .put(static_cast<std::uint32_t>(Option::export_name))
                             .put<std::uint32_t>(4)
                             .text("disk")
                             .bytes());
}

TEST(Handshake, FlagsCountOnlyWithHasFlags) {
    Talk talk;
    talk.feed(test::greeting()
                  .append(test::export_info(mebibyte, transmission_read_only))
                  .append(test::ack())
                  .bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.agreement().info.transmission_flags, 0);
}

TEST(Handshake, RefusalIsNamedAndAnsweredWithAbort) {
    Talk talk;
    talk.feed(test::greeting()
                  .append(test::option_reply(OptionReply::error_unknown, Wire().text("no\nsuch")))
                  .bytes());
    ASSERT_TRUE(talk.handshake.failed());
    EXPECT_EQ(talk.handshake.fault().code, FaultCode::refused);
    EXPECT_THAT(describe(talk.handshake.fault()), HasSubstr("no such export"));
    EXPECT_THAT(describe(talk.handshake.fault()), HasSubstr("no?such"));
    const auto abort = Wire()
                           .put(option_magic)
                           .put(static_cast<std::uint32_t>(Option::abort))
                           .put<std::uint32_t>(0)
                           .bytes();
    EXPECT_EQ(Bytes(talk.said.end() - 16, talk.said.end()), abort);
}

TEST(Handshake, EveryRefusalHasItsText) {
    const auto text = [](std::uint32_t type) {
        return describe(fault_after(test::greeting().append(test::option_reply_header(type, 0))));
    };
    const auto type = [](OptionReply reply) { return static_cast<std::uint32_t>(reply); };
    EXPECT_THAT(text(type(OptionReply::error_policy)), HasSubstr("policy"));
    EXPECT_THAT(text(type(OptionReply::error_invalid)), HasSubstr("invalid"));
    EXPECT_THAT(text(type(OptionReply::error_platform)), HasSubstr("platform"));
    EXPECT_THAT(text(type(OptionReply::error_tls_required)), HasSubstr("TLS"));
    EXPECT_THAT(text(type(OptionReply::error_shutdown)), HasSubstr("shutting down"));
    EXPECT_THAT(text(type(OptionReply::error_block_size_required)), HasSubstr("block size"));
    EXPECT_THAT(text(type(OptionReply::error_too_big)), HasSubstr("too big"));
    EXPECT_THAT(text((1U << 31) + 1000), HasSubstr("0x800003e8"));
}

TEST(Handshake, ForeignGreetingsAreNamed) {
    const auto http = fault_after(Wire().text("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_EQ(http.code, FaultCode::not_nbd);
    EXPECT_EQ(http.got, 0x485454502f312e31U);
    EXPECT_EQ(fault_after(Wire().put(init_magic).put(oldstyle_magic)).code, FaultCode::oldstyle);
    const auto magic = fault_after(Wire().put(init_magic).put<std::uint64_t>(1));
    EXPECT_EQ(magic.code, FaultCode::bad_option_magic);
    EXPECT_EQ(magic.got, 1U);
}

TEST(Handshake, BrokenOptionRepliesAreNamedWithTheirNumbers) {
    const auto after_greeting = [](const Wire& reply) {
        return fault_after(test::greeting().append(reply));
    };
    auto fault = after_greeting(Wire().put<std::uint64_t>(7).fill(12, 0));
    EXPECT_EQ(fault.code, FaultCode::bad_reply_magic);
    EXPECT_EQ(fault.got, 7U);
    fault = after_greeting(test::option_reply_header(1, 0, Option::abort));
    EXPECT_EQ(fault.code, FaultCode::wrong_option_echo);
    EXPECT_EQ(fault.got, 2U);
    fault = after_greeting(test::option_reply_header(3, 0xffffffff));
    EXPECT_EQ(fault.code, FaultCode::oversized_option_reply);
    EXPECT_EQ(fault.got, 0xffffffffU);
    fault = after_greeting(test::option_reply_header(3, max_option_reply + 1));
    EXPECT_EQ(fault.code, FaultCode::oversized_option_reply);
    fault = after_greeting(test::option_reply_header(2, 0));
    EXPECT_EQ(fault.code, FaultCode::unexpected_option_reply);
    EXPECT_EQ(fault.got, 2U);
    EXPECT_EQ(after_greeting(test::ack()).code, FaultCode::no_export_info);
}

TEST(Handshake, InfoRepliesOfAWrongLengthAreNamed) {
    const auto info = [](const Wire& payload) {
        return fault_after(test::greeting().append(test::option_reply(OptionReply::info, payload)));
    };
    for (const auto& [payload, needed] :
         {std::pair{Wire(), 2U}, std::pair{Wire().fill(1, 0), 2U},
          std::pair{Wire().put(info_export), 12U},
          std::pair{Wire().put(info_export).fill(9, 0), 12U},
          std::pair{Wire().put(info_export).fill(11, 0), 12U},
          std::pair{Wire().put(info_block_size).fill(13, 0), 14U},
          std::pair{Wire().put(info_block_size).fill(11, 0), 14U}}) {
        const auto fault = info(payload);
        EXPECT_EQ(fault.code, FaultCode::malformed_option_reply);
        EXPECT_EQ(fault.got, payload.bytes().size());
        EXPECT_EQ(fault.expected, needed);
    }
}

TEST(Handshake, AnEndlessListOfRepliesEnds) {
    Talk talk;
    talk.feed(test::greeting().bytes());
    const auto info = test::option_reply(OptionReply::info, Wire().put<std::uint16_t>(9)).bytes();
    for (unsigned i = 0; i < max_option_replies; ++i) {
        talk.feed(info);
        ASSERT_FALSE(talk.handshake.failed()) << i;
    }
    talk.feed(info);
    EXPECT_EQ(talk.handshake.fault().code, FaultCode::too_many_option_replies);
}

TEST(Handshake, SizesOfZeroAndBeyondThePossibleAreRefused) {
    const auto sized = [](std::uint64_t size) {
        return test::greeting().append(test::export_info(size)).append(test::ack());
    };
    EXPECT_EQ(fault_after(sized(0)).code, FaultCode::size_zero);
    const auto fault = fault_after(sized(std::uint64_t{1} << 63));
    EXPECT_EQ(fault.code, FaultCode::size_too_large);
    EXPECT_EQ(fault.got, std::uint64_t{1} << 63);
    Talk talk;
    talk.feed(sized(max_export_size).bytes());
    EXPECT_TRUE(talk.handshake.done());
}

TEST(Handshake, BlockSizesAgainstTheRulesAreRefused) {
    const auto sized = [](std::uint32_t minimum, std::uint32_t preferred, std::uint32_t maximum) {
        Talk talk;
        talk.feed(test::greeting()
                      .append(test::export_info(mebibyte))
                      .append(test::block_size_info(minimum, preferred, maximum))
                      .append(test::ack())
                      .bytes());
        return talk.handshake.fault();
    };
    EXPECT_EQ(sized(0, 4096, 65536).text, "minimum");
    EXPECT_EQ(sized(3, 4096, 65536).text, "minimum");
    EXPECT_EQ(sized(128U << 10, 128U << 10, 1U << 20).text, "minimum");
    EXPECT_EQ(sized(512, 0, 65536).text, "preferred");
    EXPECT_EQ(sized(4096, 512, 65536).text, "preferred");
    EXPECT_EQ(sized(512, 4096, 0).text, "maximum");
    EXPECT_EQ(sized(512, 4096, 1000).text, "maximum");
    EXPECT_EQ(sized(512, 4096, 1000).got, 1000U);
    EXPECT_EQ(sized(512, 4096, 0xffffffff).code, FaultCode::none);
    EXPECT_EQ(sized(65536, 65536, 65536).code, FaultCode::none);
}

TEST(Handshake, NamesUpTo4096BytesGoOnTheWire) {
    for (const std::size_t length : {0, 255, 256, 4096}) {
        const std::string name(length, 'n');
        Talk talk(bare(name));
        talk.feed(test::greeting().bytes());
        const auto go = go_request(name);
        EXPECT_EQ(Bytes(talk.said.begin() + 4, talk.said.end()), go);
    }
    const Handshake handshake(bare(std::string(4097, 'n')));
    EXPECT_EQ(handshake.fault().code, FaultCode::name_too_long);
    EXPECT_EQ(handshake.fault().got, 4097U);
    EXPECT_TRUE(handshake.output().empty());
}

TEST(Handshake, HangUpNamesTheStep) {
    const auto server = good_server().bytes();
    const auto step = [&](std::size_t length) {
        Talk talk;
        talk.feed(std::span(server).first(length));
        return describe(talk.handshake.hang_up());
    };
    EXPECT_THAT(step(0), HasSubstr("before its greeting"));
    EXPECT_THAT(step(8), HasSubstr("in its greeting"));
    EXPECT_THAT(step(18), HasSubstr("before its answer to NBD_OPT_GO"));
    EXPECT_THAT(step(40), HasSubstr("in its answer to NBD_OPT_GO"));
    Talk talk;
    talk.feed(test::greeting(0).bytes());
    EXPECT_THAT(describe(talk.handshake.hang_up()), HasSubstr("NBD_OPT_EXPORT_NAME"));
}

}  // namespace
}  // namespace wnbd::nbd
