// SPDX-License-Identifier: LGPL-2.1-or-later
// Connections to servers that behave, and to servers that do not.
#include "nbd/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "nbd/scripted_server.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Peer;
using test::ScriptedServer;
using test::Wire;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

constexpr std::uint64_t disk_size = 64U << 20;

Wire good_answer() {
    return test::export_info(disk_size).append(test::ack());
}

/// Counts completions by cookie.
class Completions final : public CompletionSink {
  public:
    void completed(void* cookie, Outcome outcome) noexcept override {
        const std::lock_guard lock(lock_);
        ++count_;
        ++by_cookie_[cookie];
        last_ = outcome;
        if (outcome.disconnected) ++disconnected_;
        changed_.notify_all();
    }
    bool wait_for_count(unsigned count) {
        std::unique_lock lock(lock_);
        return changed_.wait_for(lock, 20s, [&] { return count_ >= count; });
    }
    unsigned count() const { return locked(count_); }
    unsigned disconnected() const { return locked(disconnected_); }
    Outcome last() const { return locked(last_); }
    bool each_once() const {
        const std::lock_guard lock(lock_);
        for (const auto& [cookie, times] : by_cookie_)
            if (times != 1) return false;
        return true;
    }

  private:
    template <typename T>
    T locked(const T& value) const {
        const std::lock_guard lock(lock_);
        return value;
    }
    mutable std::mutex lock_;
    std::condition_variable changed_;
    std::map<void*, unsigned> by_cookie_;
    unsigned count_ = 0;
    unsigned disconnected_ = 0;
    Outcome last_;
};

/// What becomes of opening a connection to this script.
Fault open_fault(ScriptedServer::Script script, ConnectOptions options = {}) {
    ScriptedServer server(std::move(script));
    Completions completions;
    const auto connection = Connection::open(server.address(), options, completions);
    EXPECT_FALSE(connection.ok());
    return connection.ok() ? Fault{} : connection.error();
}

Command read_into(Bytes& buffer, std::uint64_t offset = 0) {
    return {.type = CommandType::read,
            .offset = offset,
            .length = buffer.size(),
            .data = buffer.data(),
            .cookie = &buffer};
}

TEST(Connection, HangUpAtEachByteOfTheNegotiationIsNamed) {
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

TEST(Connection, GarbageIsNamed) {
    const auto fault = open_fault([](Peer& peer) {
        peer.send(Wire().text("220 mail.example ESMTP\r\n"));
        peer.wait_for_end();
    });
    EXPECT_EQ(fault.code, FaultCode::not_nbd);
}

TEST(Connection, LiesAboutLengthsAreNamed) {
    const auto fault = open_fault([](Peer& peer) {
        peer.negotiate(test::option_reply_header(3, 0x7fffffff));
        peer.wait_for_end();
    });
    EXPECT_EQ(fault.code, FaultCode::oversized_option_reply);
    EXPECT_EQ(fault.got, 0x7fffffffU);
}

TEST(Connection, RefusalIsAnsweredWithAbort) {
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

TEST(Connection, SilentServerRunsIntoTheTimeLimit) {
    const auto fault =
        open_fault([](Peer& peer) { peer.wait_for_end(); }, {.handshake_time_max = 50ms});
    EXPECT_EQ(fault.code, FaultCode::timed_out);
    EXPECT_THAT(describe(fault), HasSubstr("50 ms before its greeting"));
}

TEST(Connection, NobodyListeningIsNamed) {
    std::uint16_t port = 0;
    {
        const ScriptedServer server([](Peer&) {});
        port = server.address().port;
    }
    Completions completions;
    const auto connection = Connection::open({.host = "127.0.0.1", .port = port}, {}, completions);
    ASSERT_FALSE(connection.ok());
    EXPECT_EQ(connection.error().code, FaultCode::connect_failed);
    EXPECT_THAT(describe(connection.error()), HasSubstr("refused"));
}

TEST(Connection, UnknownHostAndUnknownSocketAreNamed) {
    Completions completions;
    const auto host = Connection::open({.host = "no-such-host.invalid"}, {}, completions);
    ASSERT_FALSE(host.ok());
    EXPECT_EQ(host.error().code, FaultCode::resolve_failed);
    const auto path = Connection::open({.socket_path = "/nonexistent/socket"}, {}, completions);
    ASSERT_FALSE(path.ok());
    EXPECT_EQ(path.error().code, FaultCode::connect_failed);
    const auto longer = Connection::open({.socket_path = std::string(4096, 'x')}, {}, completions);
    ASSERT_FALSE(longer.ok());
    EXPECT_EQ(longer.error().code, FaultCode::name_too_long);
}

TEST(Connection, CloseSaysDisconnect) {
    std::promise<Peer::Request> said;
    ScriptedServer server([&](Peer& peer) {
        peer.negotiate(good_answer());
        said.set_value(peer.request());
    });
    Completions completions;
    auto connection = Connection::open(server.address(), {}, completions);
    ASSERT_TRUE(connection.ok());
    connection.value()->close();
    const auto request = said.get_future().get();
    EXPECT_EQ(request.type, static_cast<std::uint16_t>(CommandType::disconnect));
    EXPECT_EQ(request.length, 0U);
    EXPECT_EQ(connection.value()->fault().code, FaultCode::closed);
    EXPECT_EQ(connection.value()->admit({.type = CommandType::flush}), Connection::Admission::gone);
}

TEST(Connection, SkippedHandshakeGoesStraightToTransmission) {
    ScriptedServer server([](Peer& peer) {
        const auto request = peer.request();
        peer.send(test::simple_reply(request.handle).fill(request.length, 0x42));
        peer.wait_for_end();
    });
    Completions completions;
    auto connection = Connection::open(server.address(),
                                       {.skip_handshake = ExportInfo{.size = 4096}}, completions);
    ASSERT_TRUE(connection.ok());
    Bytes buffer(512);
    ASSERT_EQ(connection.value()->admit(read_into(buffer)), Connection::Admission::accepted);
    connection.value()->kick();
    ASSERT_TRUE(completions.wait_for_count(1));
    EXPECT_EQ(completions.last().error, 0U);
    EXPECT_EQ(buffer, Bytes(512, 0x42));
}

TEST(Connection, SkippedHandshakeNeedsASize) {
    const auto fault =
        open_fault([](Peer& peer) { peer.wait_for_end(); }, {.skip_handshake = ExportInfo{}});
    EXPECT_EQ(fault.code, FaultCode::size_zero);
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
    auto connection = Connection::open(server.address(), {}, completions);
    ASSERT_TRUE(connection.ok());
    std::vector<Bytes> buffers(count, Bytes(512));
    for (auto& buffer : buffers)
        ASSERT_EQ(connection.value()->admit(read_into(buffer)), Connection::Admission::accepted);
    connection.value()->kick();
    ASSERT_TRUE(completions.wait_for_count(count));
    EXPECT_EQ(completions.disconnected(), count);
    EXPECT_EQ(connection.value()->fault().code, expected) << describe(connection.value()->fault());
    EXPECT_EQ(connection.value()->admit(read_into(buffers[0])), Connection::Admission::gone);
    connection.value()->close();
    EXPECT_EQ(completions.count(), count);
    EXPECT_TRUE(completions.each_once());
}

TEST(Connection, LossCompletesEverythingOnce) {
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

TEST(Connection, BrokenRepliesCompleteEverythingOnce) {
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

TEST(Connection, StalledServerDoesNotBlockAdmissionNorClose) {
    std::promise<void> over;
    ScriptedServer server([&](Peer& peer) {
        peer.shrink_receive_buffer();
        peer.negotiate(good_answer());
        over.get_future().wait();
    });
    Completions completions;
    auto connection = Connection::open(server.address(), {}, completions);
    ASSERT_TRUE(connection.ok());
    Bytes payload(1U << 20, 1);
    std::vector<char> cookies(32);
    for (auto& cookie : cookies) {
        ASSERT_EQ(connection.value()->admit({.type = CommandType::write,
                                             .length = payload.size(),
                                             .data = payload.data(),
                                             .cookie = &cookie}),
                  Connection::Admission::accepted);
        connection.value()->kick();
    }
    EXPECT_EQ(completions.count(), 0U);
    EXPECT_FALSE(connection.value()->drain(Clock::now() + 20ms));
    connection.value()->close();
    EXPECT_EQ(completions.disconnected(), cookies.size());
    EXPECT_TRUE(completions.each_once());
    over.set_value();
}

TEST(Connection, SlowReaderGetsEveryWriteWhole) {
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
    auto connection = Connection::open(server.address(), {}, completions);
    ASSERT_TRUE(connection.ok());
    std::vector<Bytes> payloads;
    for (unsigned i = 0; i < count; ++i)
        payloads.emplace_back(length, i);
    for (auto& payload : payloads) {
        ASSERT_EQ(connection.value()->admit({.type = CommandType::write,
                                             .length = length,
                                             .data = payload.data(),
                                             .cookie = &payload}),
                  Connection::Admission::accepted);
        connection.value()->kick();
    }
    ASSERT_TRUE(completions.wait_for_count(count));
    EXPECT_TRUE(whole.get_future().get());
    EXPECT_EQ(completions.disconnected(), 0U);
    EXPECT_TRUE(completions.each_once());
}

// A server may refuse a write before it has read the payload. The payload belongs to us until it is
// sent, so the completion waits for that.
TEST(Connection, AReplyThatOvertakesItsPayloadIsHeldBack) {
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
    auto connection = Connection::open(server.address(), {}, completions);
    ASSERT_TRUE(connection.ok());
    Bytes payload(32U << 20, 1);
    ASSERT_EQ(connection.value()->admit({.type = CommandType::write,
                                         .length = payload.size(),
                                         .data = payload.data(),
                                         .cookie = &payload}),
              Connection::Admission::accepted);
    connection.value()->kick();
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

TEST(Connection, ManyThreadsMaySubmitAtOnce) {
    constexpr unsigned thread_count = 4;
    constexpr unsigned per_thread = 500;
    ScriptedServer server(serve_until_end);
    Completions completions;
    auto connection = Connection::open(server.address(), {.commands_max = 64}, completions);
    ASSERT_TRUE(connection.ok());
    std::vector<std::vector<Bytes>> buffers(thread_count,
                                            std::vector<Bytes>(per_thread, Bytes(512)));
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < thread_count; ++t)
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < per_thread; ++i) {
                auto command = read_into(buffers[t][i], (t * per_thread + i) * 512);
                if (i % 3 == 0) command.type = CommandType::write;
                while (connection.value()->admit(command) == Connection::Admission::full)
                    std::this_thread::yield();
                connection.value()->kick();
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

TEST(Connection, NamesOf255To4096BytesReachTheServer) {
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
        Completions completions;
        const auto connection = Connection::open(address, {}, completions);
        EXPECT_TRUE(connection.ok());
        EXPECT_EQ(seen.get_future().get(), length);
    }
}

}  // namespace
}  // namespace wnbd::nbd
