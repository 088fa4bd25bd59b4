// SPDX-License-Identifier: LGPL-2.1-or-later
// The client with its threads, and servers that come and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "nbd/block_server.h"
#include "nbd/client_shell.h"
#include "nbd/reconnect_fixture.h"

namespace wnbd::nbd {
namespace {

using test::BlockServer;
using test::good;
using test::Opened;
using test::options_for;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Bytes = std::vector<std::uint8_t>;
using Kind = ClientEvent::Kind;
using Phase = Client::Phase;
using namespace std::chrono_literals;

constexpr std::uint64_t disk_size = 4U << 20;

TEST(Reconnect, ARequestOutlivesALoss) {
    BlockServer server(disk_size);
    Opened client(options_for({server.address()}));
    Bytes bytes(4096, 0x11);
    ASSERT_TRUE(good(client.write(0, bytes)));
    server.set_away(true);
    server.cut();
    ASSERT_TRUE(client.events.wait_for(Kind::attempt_failed));
    std::thread back([&] {
        std::this_thread::sleep_for(100ms);
        server.set_away(false);
    });
    Bytes other(4096, 0x22);
    EXPECT_TRUE(good(client.write(4096, other)));
    back.join();
    EXPECT_EQ(server.read(4096, 4096), other);
    ASSERT_TRUE(client.events.wait_for(Kind::returned));
    EXPECT_THAT(client.events.text(Kind::lost), HasSubstr("lost the connection to 127.0.0.1:"));
    EXPECT_THAT(client.events.text(Kind::returned),
                AllOf(HasSubstr("again after"),
                      HasSubstr("what was written since the last flush may be lost")));
    EXPECT_GE(client.shell->status().reconnects, 1U);
}

TEST(Reconnect, WhatWasFlushedIsNotFearedFor) {
    BlockServer server(disk_size);
    Opened client(options_for({server.address()}));
    Bytes bytes(4096, 0x11);
    ASSERT_TRUE(good(client.write(0, bytes)));
    ASSERT_TRUE(good(client.perform({.type = CommandType::flush})));
    server.cut();
    ASSERT_TRUE(client.events.wait_for(Kind::returned));
    EXPECT_THAT(client.events.text(Kind::returned), Not(HasSubstr("lost")));
}

TEST(Reconnect, LossesAndReturnsAreToldInTurn) {
    BlockServer server(disk_size);
    auto options = options_for({server.address()});
    options.reconnect.delay = options.reconnect.delay_max = 1ms;
    Opened client(std::move(options));
    server.set_falling(true);
    server.cut();
    ASSERT_TRUE(client.events.wait_for(Kind::returned, 100));
    server.set_falling(false);
    Bytes bytes(512, 0x11);
    ASSERT_TRUE(good(client.write(0, bytes)));
    const auto reconnects = client.shell->status().reconnects;
    ASSERT_TRUE(client.events.wait_for(Kind::returned, reconnects));
    const auto turns = client.events.turns();
    ASSERT_EQ(turns.size(), 2 * reconnects);
    for (std::size_t at = 0; at < turns.size(); ++at)
        ASSERT_EQ(turns[at], at % 2 == 0 ? Kind::lost : Kind::returned) << at;
}

TEST(Reconnect, AnotherAddressTakesOver) {
    auto first = std::make_unique<BlockServer>(disk_size);
    BlockServer second(disk_size);
    Opened client(options_for({first->address(), second.address()}));
    Bytes bytes(512, 0x33);
    ASSERT_TRUE(good(client.write(0, bytes)));
    EXPECT_EQ(second.accepted(), 0U);
    first.reset();
    ASSERT_TRUE(good(client.write(512, bytes)));
    EXPECT_EQ(second.read(512, 512), bytes);
}

TEST(Reconnect, TheFirstAddressThatAnswersIsOpened) {
    std::uint16_t nobody = 0;
    {
        const BlockServer gone(disk_size);
        nobody = gone.address().port;
    }
    BlockServer server(disk_size);
    Opened client(options_for({{.host = "127.0.0.1", .port = nobody}, server.address()}));
    Bytes bytes(512, 0x44);
    EXPECT_TRUE(good(client.write(0, bytes)));
}

TEST(Reconnect, AResizeIsToldAndServed) {
    BlockServer server(disk_size);
    Opened client(options_for({server.address()}));
    server.resize(2 * disk_size);
    server.cut();
    ASSERT_TRUE(client.events.wait_for(Kind::resized));
    EXPECT_EQ(client.shell->size(), 2 * disk_size);
    Bytes bytes(512, 0x55);
    EXPECT_TRUE(good(client.write(disk_size + 512, bytes)));
}

TEST(Reconnect, GivingUpEndsEverything) {
    BlockServer server(disk_size);
    auto options = options_for({server.address()});
    options.reconnect.timeout = 200ms;
    Opened client(std::move(options));
    server.set_away(true);
    server.cut();
    Bytes bytes(512);
    EXPECT_TRUE(client.read(0, bytes).disconnected);
    ASSERT_TRUE(client.events.wait_for(Kind::gave_up));
    EXPECT_THAT(client.events.text(Kind::gave_up), HasSubstr("gave up reconnecting after"));
    EXPECT_EQ(client.shell->status().phase, Phase::ended);
    EXPECT_TRUE(client.read(0, bytes).disconnected);
}

TEST(Reconnect, CloseWhileReconnectingEndsAtOnce) {
    BlockServer server(disk_size);
    auto options = options_for({server.address()});
    options.reconnect.on_timeout = OnTimeout::hold;
    Opened client(std::move(options));
    server.set_away(true);
    server.cut();
    ASSERT_TRUE(client.events.wait_for(Kind::attempt_failed));
    const auto begin = Clock::now();
    std::thread closer([&] { client.shell->close(true); });
    Bytes bytes(512);
    const auto outcome = client.read(0, bytes);
    EXPECT_TRUE(outcome.disconnected || outcome.error == error_shutdown);
    closer.join();
    EXPECT_LT(Clock::now() - begin, 9s);
}

TEST(Reconnect, ASilentServerIsNoticedByKeepAlive) {
    BlockServer server(disk_size);
    // Takes connections and never says a word after the negotiation.
    test::ScriptedServer silent([](test::Peer& peer) {
        peer.negotiate(test::export_info(disk_size, BlockServer::usual_flags).append(test::ack()));
        peer.wait_for_end();
    });
    auto options = options_for({silent.address(), server.address()});
    options.request_time_max = 300ms;
    options.keep_alive = 100ms;
    options.handshake_time_max = 300ms;
    Opened client(std::move(options));
    ASSERT_TRUE(client.events.wait_for(Kind::lost));
    EXPECT_THAT(client.events.text(Kind::lost), HasSubstr("no answer within 300 ms"));
    // The silent one is asked first, in vain, then the other one.
    ASSERT_TRUE(client.events.wait_for(Kind::returned));
    Bytes bytes(512, 0x66);
    EXPECT_TRUE(good(client.write(0, bytes)));
}

/// The client has put a write into its socket that the server does not take; then it leaves that
/// server. Its successor has been told newer bytes when the old one takes what there is at last.
TEST(Reconnect, AStuckWriteNeverOvertakesALaterOne) {
    constexpr std::size_t length = 8U << 20;
    BlockServer successor(length);
    std::promise<void> overwritten;
    std::promise<std::pair<std::size_t, std::size_t>> came;
    test::ScriptedServer stuck([&](test::Peer& peer) {
        peer.shrink_receive_buffer();
        peer.negotiate(test::export_info(length, BlockServer::usual_flags).append(test::ack()));
        (void)peer.receive(request_size + 1);  // the payload has begun
        peer.send(test::Wire().text("no reply of any kind"));
        overwritten.get_future().wait();
        const auto waiting = peer.waiting();
        came.set_value({waiting, peer.receive(length).size()});
    });
    auto options = options_for({stuck.address(), successor.address()});
    options.handshake_time_max = 300ms;
    Opened client(std::move(options));
    Bytes older(length, 0x11);
    Bytes newer(length, 0x22);
    EXPECT_TRUE(good(client.write(0, older)));
    EXPECT_TRUE(good(client.write(0, newer)));
    overwritten.set_value();
    const auto [waiting, received] = came.get_future().get();
    EXPECT_GT(waiting, 0U);
    EXPECT_LE(received, waiting) << "the rest was on its way all the time";
    EXPECT_EQ(successor.read(0, length), newer);
}

/// Writers with blocks of their own, over connections that are cut all the time. Each write says
/// who and which it is; after it was acknowledged the block is never seen with an older one.
void storm(unsigned connections) {
    constexpr unsigned writers = 3;
    constexpr unsigned blocks_each = 16;
    constexpr std::size_t block = 4096;
    constexpr unsigned rounds = 150;  // or more, until a few connections have been lost
    constexpr unsigned losses = 3;
    BlockServer server(disk_size);
    auto options = options_for({server.address()});
    options.connections = connections;
    options.commands_max = 8;
    options.reconnect.delay = 1ms;
    options.reconnect.delay_max = 5ms;
    Opened client(std::move(options));

    std::atomic<bool> over{false};
    std::thread cutter([&] {
        std::mt19937 random(7);
        while (!over) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2 + random() % 12));
            server.cut();
        }
    });
    std::vector<std::thread> threads;
    std::atomic<unsigned> wrong{0};
    for (unsigned writer = 0; writer < writers; ++writer)
        threads.emplace_back([&, writer] {
            std::mt19937 random(writer);
            std::vector<std::uint8_t> newest(blocks_each, 0);
            Bytes bytes(block);
            for (unsigned round = 1; round <= rounds || client.shell->status().reconnects < losses;
                 ++round) {
                const auto at = random() % blocks_each;
                const auto offset = (std::uint64_t{writer} * blocks_each + at) * 16 * block;
                if (random() % 3 == 0) {
                    if (!good(client.read(offset, bytes)) || bytes != Bytes(block, newest[at]))
                        ++wrong;
                } else {
                    newest[at] = static_cast<std::uint8_t>(1 + (newest[at] + 1) % 250);
                    std::fill(bytes.begin(), bytes.end(), newest[at]);
                    if (!good(client.write(offset, bytes))) ++wrong;
                }
            }
            for (unsigned at = 0; at < blocks_each; ++at) {
                const auto offset = (std::uint64_t{writer} * blocks_each + at) * 16 * block;
                if (server.read(offset, block) != Bytes(block, newest[at])) ++wrong;
            }
        });
    for (auto& thread : threads)
        thread.join();
    over = true;
    cutter.join();
    EXPECT_EQ(wrong, 0U);
}

TEST(Reconnect, NothingIsLostOnOneConnection) {
    storm(1);
}

TEST(Reconnect, NothingIsLostOnSeveralConnections) {
    storm(4);
}

TEST(Reconnect, SeveralConnectionsServeOneDisk) {
    BlockServer server(disk_size);
    auto options = options_for({server.address()});
    options.connections = 4;
    Opened client(std::move(options));
    for (int i = 0; i < 3000 && client.shell->status().connections < 4; ++i)
        std::this_thread::sleep_for(10ms);
    EXPECT_EQ(client.shell->status().connections, 4U);
    for (std::uint64_t at = 0; at < 16; ++at) {
        Bytes bytes(4096, static_cast<std::uint8_t>(at + 1));
        ASSERT_TRUE(good(client.write(at * (disk_size / 16), bytes)));
        EXPECT_EQ(server.read(at * (disk_size / 16), 4096), bytes);
    }
}

}  // namespace
}  // namespace wnbd::nbd
