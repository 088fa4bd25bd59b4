// SPDX-License-Identifier: LGPL-2.1-or-later
// One connection in transmission, to servers that behave, and to servers that do not.
#include "nbd/client_shell.h"

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "nbd/client_shell_fixture.h"

namespace wnbd::nbd {
namespace {

using test::Completions;
using test::good_answer;
using test::open;
using test::Peer;
using test::read_into;
using test::ScriptedServer;
using test::Wire;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

TEST(ClientShell, CloseSaysDisconnect) {
    std::promise<Peer::Request> said;
    ScriptedServer server([&](Peer& peer) {
        peer.negotiate(good_answer());
        said.set_value(peer.request());
    });
    Completions completions;
    auto connection = open(server.address());
    ASSERT_TRUE(connection.ok());
    connection.value()->close(false);
    const auto request = said.get_future().get();
    EXPECT_EQ(request.type, static_cast<std::uint16_t>(CommandType::disconnect));
    EXPECT_EQ(request.length, 0U);
    EXPECT_EQ(connection.value()->status().fault.code, FaultCode::closed);
    completions.submit(*connection.value(), {.type = CommandType::flush});
    ASSERT_TRUE(completions.wait_for_count(1));
    EXPECT_EQ(completions.last().error, error_shutdown);
}

TEST(ClientShell, SkippedHandshakeGoesStraightToTransmission) {
    ScriptedServer server([](Peer& peer) {
        const auto request = peer.request();
        peer.send(test::simple_reply(request.handle).fill(request.length, 0x42));
        peer.wait_for_end();
    });
    Completions completions;
    auto connection = open(server.address(), {.skip_handshake = ExportInfo{.size = 4096}});
    ASSERT_TRUE(connection.ok());
    Bytes buffer(512);
    completions.submit(*connection.value(), read_into(buffer));
    ASSERT_TRUE(completions.wait_for_count(1));
    EXPECT_EQ(completions.last().error, 0U);
    EXPECT_EQ(buffer, Bytes(512, 0x42));
}

/// Ten reads are in flight; then the script goes on with the handles it got.
void expect_all_disconnected(
    const std::function<void(Peer&, const std::vector<std::uint64_t>&)>& script,
    FaultCode expected) {
    constexpr unsigned count = 10;
    ScriptedServer server([&](Peer& peer) {
        peer.negotiate(good_answer());
        std::vector<std::uint64_t> handles;
        for (unsigned i = 0; i < count; ++i)
            handles.push_back(peer.request().handle);
        script(peer, handles);
    });
    Completions completions;
    auto connection = open(server.address());
    ASSERT_TRUE(connection.ok());
    std::vector<Bytes> buffers(count, Bytes(512));
    for (auto& buffer : buffers)
        completions.submit(*connection.value(), read_into(buffer));
    ASSERT_TRUE(completions.wait_for_count(count));
    EXPECT_EQ(completions.disconnected(), count);
    EXPECT_EQ(connection.value()->status().fault.code, expected)
        << describe(connection.value()->status().fault);
    completions.submit(*connection.value(), read_into(buffers[0]));
    EXPECT_EQ(completions.disconnected(), count + 1);
    connection.value()->close(false);
    EXPECT_EQ(completions.count(), count + 1);
    EXPECT_TRUE(completions.each_once());
}

TEST(ClientShell, LossCompletesEverythingOnce) {
    using Handles = std::vector<std::uint64_t>;
    expect_all_disconnected([](Peer&, const Handles&) {}, FaultCode::hang_up);
    expect_all_disconnected([](Peer& peer, const Handles&) { peer.reset(); },
                            FaultCode::socket_failed);
    expect_all_disconnected(
        [](Peer& peer, const Handles& handles) {
            peer.send(test::simple_reply(handles[3]).fill(100, 1));
        },
        FaultCode::hang_up);
}

TEST(ClientShell, BrokenRepliesCompleteEverythingOnce) {
    using Handles = std::vector<std::uint64_t>;
    const auto sending = [](const Wire& wire) {
        return [wire](Peer& peer, const Handles&) {
            peer.send(wire);
            peer.wait_for_end();
        };
    };
    expect_all_disconnected(sending(Wire().text("garbage")), FaultCode::bad_reply_magic);
    expect_all_disconnected(sending(test::simple_reply(0xdeadbeefdeadbeef)),
                            FaultCode::unknown_handle);
    expect_all_disconnected(sending(test::simple_reply(0x700000001)), FaultCode::not_in_flight);
    expect_all_disconnected(sending(Wire().put(structured_reply_magic)),
                            FaultCode::wrong_reply_kind);
}

TEST(ClientShell, StalledServerDoesNotBlockAdmissionNorClose) {
    std::promise<void> over;
    ScriptedServer server([&](Peer& peer) {
        peer.shrink_receive_buffer();
        peer.negotiate(good_answer());
        over.get_future().wait();
    });
    Completions completions;
    auto connection = open(server.address(), {.close_time_max = 50ms});
    ASSERT_TRUE(connection.ok());
    Bytes payload(1U << 20, 1);
    constexpr unsigned writes = 32;
    for (unsigned i = 0; i < writes; ++i) {
        completions.submit(
            *connection.value(),
            {.type = CommandType::write, .length = payload.size(), .data = payload.data()});
    }
    EXPECT_EQ(completions.count(), 0U);
    connection.value()->close(false);
    EXPECT_EQ(completions.disconnected(), writes);
    EXPECT_TRUE(completions.each_once());
    over.set_value();
}

TEST(ClientShell, SlowReaderGetsEveryWriteWhole) {
    constexpr unsigned count = 24;
    constexpr std::uint32_t length = 512U << 10;
    std::promise<bool> whole;
    ScriptedServer server([&](Peer& peer) {
        peer.shrink_receive_buffer();
        peer.negotiate(good_answer());
        bool right = true;
        for (unsigned i = 0; i < count; ++i) {
            const auto request = peer.request();
            const auto payload = peer.receive(request.length);
            right = right && payload == Bytes(length, static_cast<std::uint8_t>(i));
            peer.send(test::simple_reply(request.handle));
        }
        whole.set_value(right);
        peer.wait_for_end();
    });
    Completions completions;
    auto connection = open(server.address());
    ASSERT_TRUE(connection.ok());
    std::vector<Bytes> payloads;
    for (unsigned i = 0; i < count; ++i)
        payloads.emplace_back(length, i);
    for (auto& payload : payloads) {
        completions.submit(*connection.value(),
                           {.type = CommandType::write, .length = length, .data = payload.data()});
    }
    ASSERT_TRUE(completions.wait_for_count(count));
    EXPECT_TRUE(whole.get_future().get());
    EXPECT_EQ(completions.disconnected(), 0U);
    EXPECT_TRUE(completions.each_once());
}

// A server may refuse a write before it has read the payload. The payload belongs to us until it is
// sent, so the completion waits for that.
TEST(ClientShell, AReplyThatOvertakesItsPayloadIsHeldBack) {
    std::promise<void> replied;
    std::promise<void> go_on;
    ScriptedServer server([&](Peer& peer) {
        peer.shrink_receive_buffer();
        peer.negotiate(good_answer());
        const auto request = peer.request();
        peer.send(test::simple_reply(request.handle, error_no_space));
        replied.set_value();
        go_on.get_future().wait();
        (void)peer.receive(request.length);
        peer.wait_for_end();
    });
    Completions completions;
    auto connection = open(server.address());
    ASSERT_TRUE(connection.ok());
    Bytes payload(32U << 20, 1);
    completions.submit(
        *connection.value(),
        {.type = CommandType::write, .length = payload.size(), .data = payload.data()});
    replied.get_future().wait();
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(completions.count(), 0U);
    go_on.set_value();
    ASSERT_TRUE(completions.wait_for_count(1));
    EXPECT_EQ(completions.last().error, error_no_space);
}

/// A server for many requests: answers reads with their offset's low byte, writes with nothing.
void serve_until_end(Peer& peer) {
    peer.negotiate(good_answer());
    for (;;) {
        const auto request = peer.request();
        if (request.type > 6 || request.type == 2) return;
        if (request.type == 1) (void)peer.receive(request.length);
        Wire reply = test::simple_reply(request.handle);
        if (request.type == 0)
            reply.fill(request.length, static_cast<std::uint8_t>(request.offset / 512));
        peer.send(reply);
    }
}

TEST(ClientShell, ManyThreadsMaySubmitAtOnce) {
    constexpr unsigned thread_count = 4;
    constexpr unsigned per_thread = 500;
    ScriptedServer server(serve_until_end);
    Completions completions;
    auto connection = open(server.address(), {.commands_max = 64});
    ASSERT_TRUE(connection.ok());
    std::vector<std::vector<Bytes>> buffers(thread_count,
                                            std::vector<Bytes>(per_thread, Bytes(512)));
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < thread_count; ++t)
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < per_thread; ++i) {
                auto command = read_into(buffers[t][i], (t * per_thread + i) * 512);
                if (i % 3 == 0) command.type = CommandType::write;
                completions.submit(*connection.value(), command);
            }
        });
    for (auto& thread : threads)
        thread.join();
    ASSERT_TRUE(completions.wait_for_count(thread_count * per_thread));
    EXPECT_TRUE(completions.each_once());
    EXPECT_EQ(completions.disconnected(), 0U);
    for (unsigned t = 0; t < thread_count; ++t) {
        for (unsigned i = 0; i < per_thread; ++i) {
            const Bytes read(512, static_cast<std::uint8_t>(t * per_thread + i));
            EXPECT_EQ(buffers[t][i], i % 3 == 0 ? Bytes(512) : read);
        }
    }
}

}  // namespace
}  // namespace wnbd::nbd
