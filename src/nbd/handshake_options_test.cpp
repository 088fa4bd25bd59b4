// SPDX-License-Identifier: LGPL-2.1-or-later
// Negotiations with every extension, with some and with none, and for every goal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nbd/handshake.h"
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

Wire option(Option option, const Wire& data = {}) {
    return Wire()
        .put(option_magic)
        .put(static_cast<std::uint32_t>(option))
        .put(static_cast<std::uint32_t>(data.bytes().size()))
        .append(data);
}

Wire accept(Option option) {
    return test::option_reply_header(static_cast<std::uint32_t>(OptionReply::ack), 0, option);
}

Wire refuse(Option option, OptionReply reply = OptionReply::error_unsupported) {
    return test::option_reply_header(static_cast<std::uint32_t>(reply), 0, option);
}

Wire context_reply(Option option, std::uint32_t id, std::string_view name) {
    return test::option_reply_header(static_cast<std::uint32_t>(OptionReply::meta_context),
                                     static_cast<std::uint32_t>(4 + name.size()), option)
        .put(id)
        .text(name);
}

Wire served_export(std::string_view name, std::string_view description) {
    return test::option_reply_header(
               static_cast<std::uint32_t>(OptionReply::server),
               static_cast<std::uint32_t>(4 + name.size() + description.size()), Option::list)
        .put(static_cast<std::uint32_t>(name.size()))
        .text(name)
        .text(description);
}

Wire agreed() {
    return test::export_info(mebibyte).append(test::ack());
}

/// What the client says in a step: to the server's words in this one alone.
Bytes answer(Talk& talk, const Wire& server) {
    const auto before = static_cast<std::ptrdiff_t>(talk.said.size());
    EXPECT_EQ(talk.feed(server.bytes()), server.bytes().size());
    return {talk.said.begin() + before, talk.said.end()};
}

Wire allocation_query(std::string_view name) {
    return option(Option::set_meta_context, Wire()
                                                .put(static_cast<std::uint32_t>(name.size()))
                                                .text(name)
                                                .put<std::uint32_t>(1)
                                                .put<std::uint32_t>(15)
                                                .text("base:allocation"));
}

TEST(Handshake, EveryExtensionThatTheServerHasIsAgreedOn) {
    Talk talk({.export_name = "disk", .tls = TlsMode::require});
    EXPECT_EQ(answer(talk, test::greeting()),
              Wire().put<std::uint32_t>(3).append(option(Option::starttls)).bytes());
    EXPECT_EQ(answer(talk, accept(Option::starttls)), Bytes());
    ASSERT_TRUE(talk.handshake.wants_tls());
    EXPECT_EQ(talk.handshake.needed(), 0U);
    talk.handshake.tls_started("TLS 1.3");
    EXPECT_FALSE(talk.handshake.wants_tls());
    EXPECT_EQ(answer(talk, {}), option(Option::extended_headers).bytes());
    EXPECT_EQ(answer(talk, accept(Option::extended_headers)), allocation_query("disk").bytes());
    EXPECT_EQ(answer(talk, context_reply(Option::set_meta_context, 42, "base:allocation")
                               .append(accept(Option::set_meta_context))),
              go_request("disk"));
    EXPECT_EQ(answer(talk, agreed()), Bytes());
    ASSERT_TRUE(talk.handshake.done());
    const auto& agreement = talk.handshake.agreement();
    EXPECT_TRUE(agreement.tls);
    EXPECT_EQ(agreement.tls_session, "TLS 1.3");
    EXPECT_EQ(agreement.format, WireFormat::extended);
    EXPECT_EQ(agreement.allocation_context, 42U);
    EXPECT_EQ(agreement.info.size, mebibyte);
}

TEST(Handshake, WithoutExtendedHeadersThereAreStructuredReplies) {
    for (const auto reply : {OptionReply::error_unsupported, OptionReply::error_policy,
                             OptionReply::error_invalid, OptionReply::error_platform}) {
        Talk talk({.export_name = "disk"});
        EXPECT_EQ(answer(talk, test::greeting()),
                  Wire().put<std::uint32_t>(3).append(option(Option::extended_headers)).bytes());
        EXPECT_EQ(answer(talk, refuse(Option::extended_headers, reply)),
                  option(Option::structured_reply).bytes());
        EXPECT_EQ(answer(talk, accept(Option::structured_reply)), allocation_query("disk").bytes());
        EXPECT_EQ(answer(talk, refuse(Option::set_meta_context, reply)), go_request("disk"));
        (void)answer(talk, agreed());
        ASSERT_TRUE(talk.handshake.done());
        EXPECT_EQ(talk.handshake.agreement().format, WireFormat::structured);
        EXPECT_FALSE(talk.handshake.agreement().allocation_context.has_value());
    }
}

TEST(Handshake, AServerWithNoExtensionServesAllTheSame) {
    Talk talk({.export_name = "disk", .tls = TlsMode::prefer});
    (void)answer(talk, test::greeting());
    EXPECT_EQ(answer(talk, refuse(Option::starttls)), option(Option::extended_headers).bytes());
    (void)answer(talk, refuse(Option::extended_headers));
    // Metadata cannot be without structured replies, so they are not asked for.
    EXPECT_EQ(answer(talk, refuse(Option::structured_reply)), go_request("disk"));
    // Neither has it GO.
    EXPECT_EQ(answer(talk, refuse(Option::go)),
              option(Option::export_name, Wire().text("disk")).bytes());
    (void)answer(talk, Wire().put(mebibyte).put<std::uint16_t>(transmission_has_flags));
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.agreement().format, WireFormat::simple);
    EXPECT_FALSE(talk.handshake.agreement().tls);
}

TEST(Handshake, WhatIsSwitchedOffIsNotAskedFor) {
    Talk talk({.export_name = "disk", .extended_headers = false, .block_status = false});
    EXPECT_EQ(answer(talk, test::greeting()),
              Wire().put<std::uint32_t>(3).append(option(Option::structured_reply)).bytes());
    EXPECT_EQ(answer(talk, accept(Option::structured_reply)), go_request("disk"));
}

TEST(Handshake, RequiredTlsIsHadOrRefusedByName) {
    const auto fault_with = [](TlsMode mode, const Wire& server) {
        Talk talk({.export_name = "disk", .tls = mode});
        talk.feed(server.bytes());
        return talk.handshake.fault();
    };
    for (const auto reply : {OptionReply::error_unsupported, OptionReply::error_policy}) {
        const auto server = test::greeting().append(refuse(Option::starttls, reply));
        const auto fault = fault_with(TlsMode::require, server);
        EXPECT_EQ(fault.code, FaultCode::tls_not_offered);
        EXPECT_THAT(describe(fault), HasSubstr("TLS is required"));
        EXPECT_EQ(fault_with(TlsMode::prefer, server).code, FaultCode::none);
    }
    EXPECT_EQ(fault_with(TlsMode::require, test::greeting(0)).code, FaultCode::tls_not_offered);
    const auto invalid =
        test::greeting().append(refuse(Option::starttls, OptionReply::error_invalid));
    EXPECT_EQ(fault_with(TlsMode::prefer, invalid).code, FaultCode::refused);
    EXPECT_THAT(describe(fault_with(TlsMode::prefer, invalid)), HasSubstr("refused TLS"));
}

TEST(Handshake, AServerThatDemandsTlsSaysWhatToDo) {
    for (const auto first : {Option::extended_headers, Option::structured_reply,
                             Option::set_meta_context, Option::go}) {
        Talk talk({.export_name = "disk"});
        (void)answer(talk, test::greeting());
        for (const auto each :
             {Option::extended_headers, Option::structured_reply, Option::set_meta_context}) {
            if (each == first) break;
            (void)answer(talk, each == Option::structured_reply ? accept(each) : refuse(each));
        }
        EXPECT_EQ(answer(talk, refuse(first, OptionReply::error_tls_required)),
                  option(Option::abort).bytes());
        EXPECT_EQ(talk.handshake.fault().code, FaultCode::refused);
        EXPECT_THAT(describe(talk.handshake.fault()), HasSubstr("use nbds://"));
    }
}

// A man in the middle may put words behind the consent, to be taken for the first ones inside TLS.
TEST(Handshake, NothingInPlainTextIsTakenForTheServersInsideTls) {
    Talk talk({.export_name = "disk", .tls = TlsMode::prefer});
    const auto injected =
        test::greeting().append(accept(Option::starttls)).append(accept(Option::extended_headers));
    talk.feed(injected.bytes());
    ASSERT_TRUE(talk.handshake.failed());
    EXPECT_EQ(talk.handshake.fault().code, FaultCode::plain_text_before_tls);
    EXPECT_EQ(talk.handshake.fault().got, 20U);
    // The same in a receive of its own.
    Talk later({.export_name = "disk", .tls = TlsMode::require});
    later.feed(test::greeting().append(accept(Option::starttls)).bytes());
    ASSERT_TRUE(later.handshake.wants_tls());
    EXPECT_EQ(describe(later.handshake.hang_up()),
              "the server closed the connection when TLS was to start");
    later.feed(accept(Option::extended_headers).bytes());
    EXPECT_EQ(later.handshake.fault().code, FaultCode::plain_text_before_tls);
}

TEST(Handshake, NameAndDescriptionOfAnExportAreTold) {
    Talk talk;
    talk.feed(test::greeting()
                  .append(test::option_reply(OptionReply::info, Wire().put(info_name).text("Disk")))
                  .append(test::option_reply(OptionReply::info,
                                             Wire().put(info_description).text("the only one")))
                  .append(agreed())
                  .bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.agreement().info.canonical_name, "Disk");
    EXPECT_EQ(talk.handshake.agreement().info.description, "the only one");
}

TEST(Handshake, InfoTellsAnExportAndLeaves) {
    Talk talk(bare("disk", Goal::info));
    (void)answer(talk, test::greeting());
    const auto info = [](const Wire& payload) {
        return test::option_reply_header(static_cast<std::uint32_t>(OptionReply::info),
                                         static_cast<std::uint32_t>(payload.bytes().size()),
                                         Option::info)
            .append(payload);
    };
    // nbd-server says a size of 0 here, and the right one with GO.
    const auto said =
        answer(talk, info(Wire().put(info_export).put<std::uint64_t>(0).put<std::uint16_t>(0))
                         .append(info(Wire().put(info_block_size).put(512U).put(4096U).put(65536U)))
                         .append(accept(Option::info)));
    EXPECT_EQ(said, option(Option::abort).bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.agreement().info.size, 0U);
    EXPECT_EQ(talk.handshake.agreement().info.minimum_block, 512U);
    // Without INFO there is nothing to go on with.
    Talk without(bare("disk", Goal::info));
    without.feed(test::greeting().append(refuse(Option::info)).bytes());
    EXPECT_EQ(without.handshake.fault().code, FaultCode::refused);
}

TEST(Handshake, ListTellsExportsWithTheirDescriptions) {
    Talk talk({.goal = Goal::list});
    EXPECT_EQ(answer(talk, test::greeting()),
              Wire().put<std::uint32_t>(3).append(option(Option::list)).bytes());
    EXPECT_EQ(answer(talk, served_export("one", "")), Bytes());
    EXPECT_EQ(answer(talk, served_export("", "the default").append(accept(Option::list))),
              option(Option::abort).bytes());
    ASSERT_TRUE(talk.handshake.done());
    ASSERT_EQ(talk.handshake.exports().size(), 2U);
    EXPECT_EQ(talk.handshake.exports()[0].name, "one");
    EXPECT_EQ(talk.handshake.exports()[0].description, "");
    EXPECT_EQ(talk.handshake.exports()[1].name, "");
    EXPECT_EQ(talk.handshake.exports()[1].description, "the default");
}

TEST(Handshake, BrokenListsAreNamed) {
    const auto fault_of = [](const Wire& server) {
        Talk talk({.goal = Goal::list});
        talk.feed(test::greeting().append(server).bytes());
        EXPECT_FALSE(talk.handshake.done());
        return talk.handshake.fault();
    };
    const auto entry = [](const Wire& payload) {
        return test::option_reply_header(static_cast<std::uint32_t>(OptionReply::server),
                                         static_cast<std::uint32_t>(payload.bytes().size()),
                                         Option::list)
            .append(payload);
    };
    EXPECT_EQ(fault_of(entry({})).code, FaultCode::malformed_option_reply);
    EXPECT_EQ(fault_of(entry(Wire().put(5U).text("name"))).code, FaultCode::malformed_option_reply);
    EXPECT_EQ(fault_of(entry(Wire().put(0xffffffffU).text("n"))).code,
              FaultCode::malformed_option_reply);
    EXPECT_EQ(fault_of(entry(Wire().put(4097U).fill(4097, 'n'))).code,
              FaultCode::malformed_option_reply);
    EXPECT_THAT(describe(fault_of(refuse(Option::list, OptionReply::error_policy))),
                HasSubstr("refused to list its exports: its policy forbids it"));
    EXPECT_EQ(fault_of(context_reply(Option::list, 1, "base:allocation")).code,
              FaultCode::unexpected_option_reply);
    Wire endless;
    for (unsigned i = 0; i <= max_listed; ++i)
        endless.append(served_export("n", ""));
    EXPECT_EQ(fault_of(endless).code, FaultCode::too_many_option_replies);
}

TEST(Handshake, ListContextsTellsTheirNames) {
    Talk talk({.export_name = "disk", .goal = Goal::list_contexts});
    (void)answer(talk, test::greeting());
    EXPECT_EQ(answer(talk, accept(Option::extended_headers)),
              option(Option::list_meta_context, Wire().put(4U).text("disk").put<std::uint32_t>(0))
                  .bytes());
    EXPECT_EQ(answer(talk, context_reply(Option::list_meta_context, 0, "base:allocation")
                               .append(context_reply(Option::list_meta_context, 0, "x:y"))
                               .append(accept(Option::list_meta_context))),
              option(Option::abort).bytes());
    ASSERT_TRUE(talk.handshake.done());
    EXPECT_EQ(talk.handshake.contexts(), (std::vector<std::string>{"base:allocation", "x:y"}));
    // A server that cannot tell has none.
    Talk without({.export_name = "disk", .goal = Goal::list_contexts});
    (void)answer(without, test::greeting().append(refuse(Option::extended_headers)));
    EXPECT_EQ(answer(without, refuse(Option::structured_reply)), option(Option::abort).bytes());
    EXPECT_TRUE(without.handshake.done());
}

TEST(Handshake, OnlyTheContextThatWasAskedForIsTaken) {
    const auto fault_after_contexts = [](const Wire& contexts) {
        Talk talk({.export_name = "disk"});
        talk.feed(
            test::greeting().append(accept(Option::extended_headers)).append(contexts).bytes());
        return talk.handshake.fault();
    };
    const auto set = Option::set_meta_context;
    const auto fault = fault_after_contexts(context_reply(set, 7, "qemu:depth"));
    EXPECT_EQ(fault.code, FaultCode::unasked_context);
    EXPECT_EQ(fault.got, 7U);
    EXPECT_THAT(describe(fault), HasSubstr("qemu:depth"));
    EXPECT_EQ(fault_after_contexts(context_reply(set, 7, "base:allocation")
                                       .append(context_reply(set, 8, "base:allocation")))
                  .code,
              FaultCode::unasked_context);
    EXPECT_EQ(fault_after_contexts(context_reply(set, 7, "")).code,
              FaultCode::malformed_option_reply);
}

TEST(Handshake, AnAcknowledgementCarriesNothing) {
    Talk talk({.export_name = "disk", .tls = TlsMode::require});
    talk.feed(test::greeting()
                  .append(test::option_reply_header(1, 4, Option::starttls).text("more"))
                  .bytes());
    EXPECT_EQ(talk.handshake.fault().code, FaultCode::malformed_option_reply);
    EXPECT_FALSE(talk.handshake.wants_tls());
}

TEST(Handshake, APlainNewstyleServerTellsNothing) {
    for (const auto goal : {Goal::info, Goal::list, Goal::list_contexts}) {
        Talk talk({.export_name = "disk", .goal = goal});
        talk.feed(test::greeting(0).bytes());
        EXPECT_EQ(talk.handshake.fault().code, FaultCode::plain_newstyle);
        EXPECT_THAT(describe(talk.handshake.fault()), HasSubstr("plain newstyle"));
    }
}

}  // namespace
}  // namespace wnbd::nbd
