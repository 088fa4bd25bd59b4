// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/inquiry.h"

#include <gtest/gtest.h>

#include "nbd/scripted_server.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Peer;
using test::ScriptedServer;
using test::Wire;

Wire list_reply(OptionReply type, const Wire& payload = {}) {
    return test::option_reply_header(static_cast<std::uint32_t>(type),
                                     static_cast<std::uint32_t>(payload.bytes().size()),
                                     Option::list)
        .append(payload);
}

/// Answers the question for a list with these bytes.
ScriptedServer::Script lists(const Wire& answer) {
    return [answer](Peer& peer) {
        peer.send(test::greeting());
        (void)peer.receive(4 + 16);
        peer.send(answer);
        peer.wait_for_end();
    };
}

Address nobody() {
    return ScriptedServer([](Peer&) {}).address();
}

TEST(Inquiry, TheFirstAddressThatAnswersIsAsked) {
    ScriptedServer refuses(lists(list_reply(OptionReply::error_policy)));
    ScriptedServer answers(lists(list_reply(OptionReply::server, Wire().put(4U).text("disk"))
                                     .append(list_reply(OptionReply::ack))));
    const auto list = inquire(
        {.addresses = {nobody(), refuses.address(), answers.address(), nobody()}}, Goal::list);
    ASSERT_TRUE(list.ok()) << describe(list.error());
    ASSERT_EQ(list.value().exports.size(), 1U);
    EXPECT_EQ(list.value().exports[0].name, "disk");
}

TEST(Inquiry, TheLastRefusalIsTold) {
    ScriptedServer refuses(lists(list_reply(OptionReply::error_policy)));
    const auto list = inquire({.addresses = {nobody(), refuses.address()}}, Goal::list);
    ASSERT_FALSE(list.ok());
    EXPECT_EQ(list.error().code, FaultCode::refused);
    EXPECT_FALSE(inquire({}, Goal::list).ok());
}

}  // namespace
}  // namespace wnbd::nbd
