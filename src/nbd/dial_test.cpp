// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/dial.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace wnbd::nbd {
namespace {

using namespace std::chrono_literals;

Clock::time_point after(std::chrono::milliseconds time) {
    return Clock::now() + time;
}

/// Listens on the IPv4 loopback. With a full queue it drops who else comes: it is silent.
class Listener {
  public:
    explicit Listener(int queue = 16) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address_;
        if (::bind(socket_.native(), generic(), length) != 0 ||
            ::listen(socket_.native(), queue) != 0 ||
            ::getsockname(socket_.native(), generic(), &length) != 0)
            throw std::runtime_error("no listener");
        info_.ai_family = AF_INET;
        info_.ai_addr = generic();
        info_.ai_addrlen = length;
    }
    /// Fills the queue, until it takes no more.
    void fall_silent() {
        for (int i = 0; i < 8; ++i) {
            Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
            const bool there = ::connect(socket.native(), generic(), sizeof address_) == 0;
            EXPECT_TRUE(there || errno == EINPROGRESS);
            fillers_.push_back(std::move(socket));
        }
    }
    [[nodiscard]] std::uint16_t port() const { return ntohs(address_.sin_port); }
    [[nodiscard]] addrinfo info(addrinfo* next = nullptr) const {
        auto info = info_;
        info.ai_next = next;
        return info;
    }
    void close() { socket_ = Socket(); }

  private:
    sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }
    Socket socket_;
    sockaddr_in address_{};
    addrinfo info_{};
    std::vector<Socket> fillers_;
};

int option(const Socket& socket, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    ::getsockopt(socket.native(), level, name, &value, &length);
    return value;
}

TEST(DialTest, connects_by_number_and_by_name_and_sets_what_a_client_needs) {
    const Listener listener;
    Dialer dialer;
    for (const char* const host : {"127.0.0.1", "localhost"}) {
        const auto socket = dialer.dial({.host = host, .port = listener.port()}, after(20s));
        ASSERT_TRUE(socket) << describe(socket.error());
        EXPECT_NE(option(socket.value(), IPPROTO_TCP, TCP_NODELAY), 0);
        EXPECT_NE(option(socket.value(), SOL_SOCKET, SO_KEEPALIVE), 0);
        EXPECT_EQ(option(socket.value(), IPPROTO_TCP, TCP_KEEPIDLE), 30);
        EXPECT_EQ(option(socket.value(), IPPROTO_TCP, TCP_KEEPINTVL), 5);
        EXPECT_EQ(option(socket.value(), IPPROTO_TCP, TCP_KEEPCNT), 6);
    }
}

TEST(DialTest, a_silent_address_does_not_hold_the_next_one_up) {
    Listener silent(0);
    silent.fall_silent();
    const Listener good;
    auto second = good.info();
    auto first = silent.info(&second);
    Dialer dialer;
    const auto socket = dialer.connect_any(&first, after(20s));
    ASSERT_TRUE(socket) << describe(socket.error());
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    ASSERT_EQ(::getpeername(socket.value().native(), reinterpret_cast<sockaddr*>(&peer), &length),
              0);
    EXPECT_EQ(ntohs(peer.sin_port), good.port());
}

TEST(DialTest, an_address_that_refuses_makes_room_for_the_next_one) {
    Listener refusing;
    auto last = refusing.info();
    const Listener good;
    auto second = good.info(&last);
    auto first = refusing.info(&second);
    refusing.close();
    Dialer dialer;
    EXPECT_TRUE(dialer.connect_any(&first, after(20s)));
    const auto refused = dialer.connect_any(&last, after(20s));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, FaultCode::connect_failed);
    EXPECT_EQ(refused.error().got, std::uint64_t{ECONNREFUSED});
}

TEST(DialTest, ends_at_the_deadline) {
    Listener silent(0);
    silent.fall_silent();
    Dialer dialer;
    const auto socket = dialer.dial({.host = "127.0.0.1", .port = silent.port()}, after(50ms));
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().code, FaultCode::timed_out);
    EXPECT_NEAR(double(socket.error().expected), 50, 2);
}

TEST(DialTest, can_be_cancelled_by_another_thread_and_stays_so) {
    Listener silent(0);
    silent.fall_silent();
    Dialer dialer;
    const Address address{.host = "127.0.0.1", .port = silent.port()};
    auto dialling = std::async(std::launch::async, [&] { return dialer.dial(address, after(1h)); });
    std::this_thread::sleep_for(20ms);
    dialer.cancel();
    const auto socket = dialling.get();
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().code, FaultCode::closed);
    const auto later = dialer.dial(address, after(1h));
    ASSERT_FALSE(later);
    EXPECT_EQ(later.error().code, FaultCode::closed);
    const auto named = dialer.dial({.host = "localhost", .port = silent.port()}, after(1h));
    ASSERT_FALSE(named);
    EXPECT_EQ(named.error().code, FaultCode::closed);
}

TEST(DialTest, a_name_that_cannot_be_one_does_not_resolve) {
    Dialer dialer;
    const auto socket = dialer.dial({.host = std::string(300, 'x')}, after(20s));
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().code, FaultCode::resolve_failed);
}

/// A Unix socket's listener in a directory of its own.
class UnixListener {
  public:
    UnixListener() : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        char directory[] = "/tmp/wnbd-dial-XXXXXX";
        directory_ = ::mkdtemp(directory);
        path_ = directory_ + "/socket";
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path_.c_str(), path_.size());
        if (::bind(socket_.native(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
            ::listen(socket_.native(), 0) != 0)
            throw std::runtime_error("no listener");
    }
    ~UnixListener() {
        ::unlink(path_.c_str());
        ::rmdir(directory_.c_str());
    }
    [[nodiscard]] Address address() const { return {.socket_path = path_}; }
    Socket accept() { return Socket(::accept(socket_.native(), nullptr, nullptr)); }

  private:
    Socket socket_;
    std::string directory_;
    std::string path_;
};

TEST(DialTest, a_unix_socket_that_has_no_room_is_waited_for) {
    UnixListener listener;
    Dialer dialer;
    const auto first = dialer.dial(listener.address(), after(20s));
    ASSERT_TRUE(first) << describe(first.error());
    const auto full = dialer.dial(listener.address(), after(50ms));
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code, FaultCode::timed_out);
    auto dialling =
        std::async(std::launch::async, [&] { return dialer.dial(listener.address(), after(20s)); });
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(listener.accept().open());
    EXPECT_TRUE(dialling.get());
}

TEST(DialTest, a_unix_socket_that_is_not_there_is_told_at_once) {
    Dialer dialer;
    const auto missing = dialer.dial({.socket_path = "/nonexistent/socket"}, after(1h));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, FaultCode::connect_failed);
    const auto long_name = dialer.dial({.socket_path = std::string(200, 'x')}, after(1h));
    ASSERT_FALSE(long_name);
    EXPECT_EQ(long_name.error().code, FaultCode::name_too_long);
}

/// Listens under a name of the abstract namespace, which is as long as its address says.
Socket listen_abstractly(const std::string& name) {
    Socket socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    if (::bind(socket.native(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(socket.native(), 4) != 0)
        throw std::runtime_error("no listener");
    return socket;
}

TEST(DialTest, an_abstract_socket_has_exactly_its_name) {
    const auto own = std::string(1, '\0') + "wnbd-dial-" + std::to_string(::getpid());
    const std::size_t longest = sizeof sockaddr_un{}.sun_path;
    for (const auto& name : {own, own + std::string(longest - own.size(), 'x')}) {
        const auto listener = listen_abstractly(name);
        Dialer dialer;
        const auto socket = dialer.dial({.socket_path = name}, after(20s));
        EXPECT_TRUE(socket) << name.size() << " bytes: " << describe(socket.error());
        const auto other =
            dialer.dial({.socket_path = name.substr(0, name.size() - 1)}, after(20s));
        EXPECT_FALSE(other);
    }
}

TEST(DialTest, the_longest_path_of_a_unix_socket_has_room_for_its_end) {
    const std::size_t longest = sizeof sockaddr_un{}.sun_path - 1;
    Dialer dialer;
    const auto missing = dialer.dial({.socket_path = std::string(longest, 'x')}, after(20s));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, FaultCode::connect_failed);
    const auto long_name = dialer.dial({.socket_path = std::string(longest + 1, 'x')}, after(20s));
    ASSERT_FALSE(long_name);
    EXPECT_EQ(long_name.error().code, FaultCode::name_too_long);
    EXPECT_EQ(long_name.error().expected, longest);
}

}  // namespace
}  // namespace wnbd::nbd
