// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/socket_stream.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <future>
#include <string_view>
#include <thread>
#include <vector>

#include "nbd/spin.h"

namespace wnbd::nbd {
namespace {

using namespace std::chrono_literals;
using Status = IoResult::Status;

/// A stream, and the socket at its other end.
class SocketStreamTest : public testing::Test {
  protected:
    void SetUp() override {
        std::array<int, 2> pair;
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()), 0);
        peer_ = Socket(pair[1]);
        auto stream = SocketStream::create(Socket(pair[0]));
        ASSERT_TRUE(stream);
        stream_ = std::move(stream.value());
    }

    void peer_says(std::string_view text) {
        ASSERT_EQ(::send(peer_.native(), text.data(), text.size(), 0), ssize_t(text.size()));
    }
    /// Until the socket takes no more; how many bytes it took.
    std::size_t fill() {
        std::vector<std::uint8_t> bytes(64U << 10, 0x5a);
        const IoSlice slice{bytes.data(), bytes.size()};
        std::size_t taken = 0;
        for (;;) {
            const auto sent = stream_->send({&slice, 1});
            if (sent.status != Status::ok) {
                EXPECT_EQ(sent.status, Status::would_block);
                return taken;
            }
            taken += sent.bytes;
        }
    }
    void drain_peer(std::size_t count) {
        std::vector<std::uint8_t> bytes(count);
        while (count > 0) {
            const auto got = ::recv(peer_.native(), bytes.data(), count, 0);
            ASSERT_GT(got, 0);
            count -= std::size_t(got);
        }
    }

    Socket peer_;
    std::unique_ptr<SocketStream> stream_;
};

TEST_F(SocketStreamTest, gathers_and_scatters) {
    std::array<std::uint8_t, 6> out{'a', 'b', 'c', 'd', 'e', 'f'};
    const std::array<IoSlice, 2> gather{{{out.data(), 2}, {out.data() + 2, 4}}};
    EXPECT_EQ(stream_->send(gather).bytes, 6U);
    std::array<char, 8> there{};
    EXPECT_EQ(::recv(peer_.native(), there.data(), there.size(), 0), 6);
    EXPECT_EQ(std::string_view(there.data(), 6), "abcdef");

    peer_says("uvwxyz");
    EXPECT_TRUE(stream_->wait({.time_max = 10s}).readable);
    std::array<std::uint8_t, 8> in{};
    const std::array<IoSlice, 2> scatter{{{in.data() + 4, 4}, {in.data(), 4}}};
    EXPECT_EQ(stream_->receive(scatter).bytes, 6U);
    EXPECT_EQ(in[0], 'y');
    EXPECT_EQ(in[4], 'u');
    EXPECT_EQ(stream_->receive(scatter).status, Status::would_block);
}

TEST_F(SocketStreamTest, a_wait_is_over_with_its_time) {
    for (const bool soon : {false, true}) {
        const auto ready = stream_->wait({.soon = soon, .time_max = 5ms});
        EXPECT_FALSE(ready.readable || ready.writable || ready.woken);
    }
}

TEST_F(SocketStreamTest, a_call_ends_the_present_wait_and_the_next_one_once) {
    auto waiting = std::async(std::launch::async, [&] { return stream_->wait({}); });
    stream_->wake();
    EXPECT_TRUE(waiting.get().woken);
    stream_->wake();
    stream_->wake();
    EXPECT_TRUE(stream_->wait({}).woken);
    EXPECT_FALSE(stream_->wait({.time_max = 5ms}).woken);
}

TEST_F(SocketStreamTest, a_full_socket_tells_when_there_is_room_and_only_who_asks) {
    const auto taken = fill();
    EXPECT_FALSE(stream_->wait({.room = true, .time_max = 5ms}).writable);
    drain_peer(taken);
    EXPECT_FALSE(stream_->wait({.time_max = 5ms}).writable);
    EXPECT_TRUE(stream_->wait({.room = true, .time_max = 10s}).writable);
    EXPECT_FALSE(stream_->wait({.time_max = 5ms}).writable);
    EXPECT_GT(fill(), 0U);
}

TEST_F(SocketStreamTest, the_end_of_the_peer_is_something_to_receive) {
    peer_says("last");
    peer_ = Socket();
    std::array<std::uint8_t, 8> in{};
    const IoSlice slice{in.data(), in.size()};
    EXPECT_TRUE(stream_->wait({.time_max = 10s}).readable);
    EXPECT_EQ(stream_->receive({&slice, 1}).bytes, 4U);
    EXPECT_TRUE(stream_->wait({.time_max = 10s}).readable);
    EXPECT_EQ(stream_->receive({&slice, 1}).status, Status::closed);
    EXPECT_EQ(stream_->send({&slice, 1}).status, Status::failed);
}

TEST_F(SocketStreamTest, shutting_down_ends_a_wait_and_both_directions) {
    auto waiting = std::async(std::launch::async, [&] { return stream_->wait({}); });
    stream_->shut_down();
    EXPECT_TRUE(waiting.get().readable);
    std::array<std::uint8_t, 8> bytes{};
    const IoSlice slice{bytes.data(), bytes.size()};
    EXPECT_NE(stream_->receive({&slice, 1}).status, Status::ok);
    EXPECT_EQ(stream_->send({&slice, 1}).status, Status::failed);
}

TEST_F(SocketStreamTest, saying_no_more_leaves_the_other_direction) {
    stream_->shut_down_send();
    char byte = 0;
    EXPECT_EQ(::recv(peer_.native(), &byte, 1, 0), 0);
    peer_says("x");
    EXPECT_TRUE(stream_->wait({.time_max = 10s}).readable);
}

TEST_F(SocketStreamTest, a_pause_is_no_wait) {
    // Nothing comes, and the wait has no end of its own.
    (void)stream_->wait({.pause = 50us});
    std::array<std::uint8_t, 8> in{};
    const IoSlice slice{in.data(), in.size()};
    EXPECT_EQ(stream_->receive({&slice, 1}).status, Status::would_block);
    peer_says("x");
    EXPECT_TRUE(stream_->wait({.pause = 50us}).readable);
    EXPECT_EQ(stream_->receive({&slice, 1}).bytes, 1U);
}

TEST_F(SocketStreamTest, an_answer_that_comes_soon_is_met_by_either_kind_of_wait) {
    for (int i = 0; i < 200; ++i) {
        std::thread peer([&] { peer_says("x"); });
        EXPECT_TRUE(stream_->wait({.soon = i % 2 == 0, .time_max = 10s}).readable);
        peer.join();
        std::array<std::uint8_t, 8> in{};
        const IoSlice slice{in.data(), in.size()};
        EXPECT_EQ(stream_->receive({&slice, 1}).bytes, 1U);
    }
}

/// Both ends of a TCP connection.
std::array<Socket, 2> tcp_pair() {
    Socket listener(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener.native(), generic, size), 0);
    EXPECT_EQ(::listen(listener.native(), 1), 0);
    EXPECT_EQ(::getsockname(listener.native(), generic, &size), 0);
    Socket client(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(::connect(client.native(), generic, size), 0);
    return {std::move(client), Socket(::accept(listener.native(), nullptr, nullptr))};
}

// Else the system would go on sending old writes when another connection has long written newer
// ones.
TEST_F(SocketStreamTest, what_was_not_sent_when_a_stream_is_shut_down_is_never_sent) {
    auto ends = tcp_pair();
    peer_ = std::move(ends[1]);
    stream_ = std::move(SocketStream::create(std::move(ends[0])).value());
    const auto taken = fill();
    stream_->shut_down();
    stream_.reset();
    std::vector<std::uint8_t> bytes(1U << 20);
    std::size_t came = 0;
    ssize_t got = 0;
    while ((got = ::recv(peer_.native(), bytes.data(), bytes.size(), 0)) > 0)
        came += std::size_t(got);
    EXPECT_EQ(got, -1) << "the server was told of an orderly end";
    EXPECT_EQ(errno, ECONNRESET);
    EXPECT_LT(came, taken);
}

TEST(SpinChoiceTest, fruitless_spins_become_rare_and_one_that_finds_brings_them_back) {
    SpinChoice choice;
    EXPECT_TRUE(choice.worth_it());
    unsigned spins = 0;
    for (int wait = 0; wait < 10'000; ++wait)
        if (choice.worth_it()) {
            ++spins;
            choice.learn(false);
        }
    EXPECT_LT(spins, 25U);
    EXPECT_GT(spins, 10U);
    while (!choice.worth_it()) {
    }
    choice.learn(true);
    for (int wait = 0; wait < 100; ++wait) {
        EXPECT_TRUE(choice.worth_it());
        choice.learn(true);
    }
}

}  // namespace
}  // namespace wnbd::nbd
