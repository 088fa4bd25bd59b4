// SPDX-License-Identifier: LGPL-2.1-or-later
// Opening a connection to servers that behave, and to servers that do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "nbd/client_shell_fixture.h"

namespace wnbd::nbd {
namespace {

using test::good_answer;
using test::open;
using test::Peer;
using test::ScriptedServer;
using test::Wire;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

/// What becomes of opening a connection to this script.
Fault open_fault(ScriptedServer::Script script, ClientOptions options = {}) {
    ScriptedServer server(std::move(script));
    const auto connection = open(server.address(), std::move(options));
    EXPECT_FALSE(connection.ok());
    return connection.ok() ? Fault{} : connection.error();
}

TEST(ClientShell, HangUpAtEachByteOfTheNegotiationIsNamed) {
    const auto greeting = test::greeting().bytes();
    const auto answer = good_answer().bytes();
    for (std::size_t length = 0; length < greeting.size() + answer.size(); ++length) {
        const auto fault = open_fault([&](Peer& peer) {
            peer.send(std::span(greeting).first(std::min(length, greeting.size())));
            if (length < greeting.size()) return;
            (void)peer.receive(4 + 16 + 12);
            peer.send(std::span(answer).first(length - greeting.size()));
        });
        EXPECT_TRUE(fault.code == FaultCode::hang_up) << length << ": " << describe(fault);
    }
}

TEST(ClientShell, GarbageIsNamed) {
    const auto fault = open_fault([](Peer& peer) {
        peer.send(Wire().text("220 mail.example ESMTP\r\n"));
        peer.wait_for_end();
    });
    EXPECT_EQ(fault.code, FaultCode::not_nbd);
}

TEST(ClientShell, LiesAboutLengthsAreNamed) {
    const auto fault = open_fault([](Peer& peer) {
        peer.negotiate(test::option_reply_header(3, 0x7fffffff));
        peer.wait_for_end();
    });
    EXPECT_EQ(fault.code, FaultCode::oversized_option_reply);
    EXPECT_EQ(fault.got, 0x7fffffffU);
}

TEST(ClientShell, RefusalIsAnsweredWithAbort) {
    std::promise<Bytes> said;
    const auto fault = open_fault([&](Peer& peer) {
        peer.negotiate(test::option_reply(OptionReply::error_policy));
        said.set_value(peer.receive(16));
    });
    EXPECT_EQ(fault.code, FaultCode::refused);
    EXPECT_EQ(said.get_future().get(), Wire()
                                           .put(option_magic)
                                           .put(static_cast<std::uint32_t>(Option::abort))
                                           .put<std::uint32_t>(0)
                                           .bytes());
}

TEST(ClientShell, SilentServerRunsIntoTheTimeLimit) {
    const auto fault =
        open_fault([](Peer& peer) { peer.wait_for_end(); }, {.handshake_time_max = 50ms});
    EXPECT_EQ(fault.code, FaultCode::timed_out);
    EXPECT_THAT(describe(fault), HasSubstr("50 ms before its greeting"));
}

TEST(ClientShell, NobodyListeningIsNamed) {
    std::uint16_t port = 0;
    {
        const ScriptedServer server([](Peer&) {});
        port = server.address().port;
    }
    const auto connection = open({.host = "127.0.0.1", .port = port});
    ASSERT_FALSE(connection.ok());
    EXPECT_EQ(connection.error().code, FaultCode::connect_failed);
    EXPECT_THAT(describe(connection.error()), HasSubstr("refused"));
}

TEST(ClientShell, UnknownHostAndUnknownSocketAreNamed) {
    const auto host = open({.host = "no-such-host.invalid"});
    ASSERT_FALSE(host.ok());
    EXPECT_EQ(host.error().code, FaultCode::resolve_failed);
    const auto path = open({.socket_path = "/nonexistent/socket"});
    ASSERT_FALSE(path.ok());
    EXPECT_EQ(path.error().code, FaultCode::connect_failed);
    const auto longer = open({.socket_path = std::string(4096, 'x')});
    ASSERT_FALSE(longer.ok());
    EXPECT_EQ(longer.error().code, FaultCode::name_too_long);
}

TEST(ClientShell, SkippedHandshakeNeedsASize) {
    const auto fault =
        open_fault([](Peer& peer) { peer.wait_for_end(); }, {.skip_handshake = ExportInfo{}});
    EXPECT_EQ(fault.code, FaultCode::size_zero);
}

TEST(ClientShell, NamesOf255To4096BytesReachTheServer) {
    for (const std::size_t length : {255, 256, 4096}) {
        std::promise<std::size_t> seen;
        ScriptedServer server([&](Peer& peer) {
            peer.send(test::greeting());
            const auto header = peer.receive(4 + 16 + 4);
            seen.set_value(load_big_endian<std::uint32_t>(&header[20]));
            (void)peer.receive(length + 8);
            peer.send(good_answer());
            peer.wait_for_end();
        });
        auto address = server.address();
        address.export_name = std::string(length, 'n');
        const auto connection = open(address);
        EXPECT_TRUE(connection.ok());
        EXPECT_EQ(seen.get_future().get(), length);
    }
}

}  // namespace
}  // namespace wnbd::nbd
