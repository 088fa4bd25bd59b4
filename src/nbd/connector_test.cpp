// SPDX-License-Identifier: LGPL-2.1-or-later
// Attempts that are given up in the middle, and names that stand for several servers.
#include "nbd/connector.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "nbd/block_server.h"
#include "nbd/client_shell.h"
#include "nbd/scripted_server.h"

namespace {

constexpr const char* several = "several.test";
std::atomic<unsigned> asked{0};

}  // namespace

/// Stands before the system's. One name has two addresses, and another one comes first each time.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
    const auto system =
        reinterpret_cast<int (*)(const char*, const char*, const addrinfo*, addrinfo**)>(
            ::dlsym(RTLD_NEXT, "getaddrinfo"));
    if (node == nullptr || std::strcmp(node, several) != 0)
        return system(node, service, hints, result);
    if ((hints->ai_flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
    std::array<const char*, 2> addresses{"127.0.0.1", "127.0.0.2"};
    if (asked++ % 2 != 0) std::swap(addresses[0], addresses[1]);
    addrinfo* second = nullptr;
    if (const int error = system(addresses[0], service, hints, result); error != 0) return error;
    if (const int error = system(addresses[1], service, hints, &second); error != 0) return error;
    (*result)->ai_next = second;
    return 0;
}

namespace wnbd::nbd {
namespace {

using test::BlockServer;
using test::Peer;
using test::ScriptedServer;
using namespace std::chrono_literals;

constexpr std::uint64_t disk_size = 4U << 20;

/// Another server at the same port of another address: it counts who comes, and says nothing.
class OtherHost {
  public:
    explicit OtherHost(std::uint16_t port)
        : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
        there_ =
            ::bind(socket_.native(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
            ::listen(socket_.native(), 16) == 0;
    }
    [[nodiscard]] bool there() const { return there_; }
    [[nodiscard]] unsigned came() const {
        unsigned count = 0;
        while (Socket(::accept(socket_.native(), nullptr, nullptr)).open())
            ++count;
        return count;
    }

  private:
    Socket socket_;
    bool there_ = false;
};

ClientOptions options_for(Address address) {
    ClientOptions options;
    options.addresses = {std::move(address)};
    // What is given up ends long before.
    options.connect_time_max = options.handshake_time_max = 1h;
    return options;
}

TEST(ConnectorTest, APinnedAttemptGoesToThatAddressOfTheName) {
    BlockServer server(disk_size);
    auto address = server.address();
    address.host = several;
    const auto options = options_for(address);
    const auto connector = Connector::create(options);
    ASSERT_TRUE(connector.ok());
    for (int i = 0; i < 4; ++i) {
        Attempt attempt;
        attempt.pin("127.0.0.1");
        ASSERT_TRUE(connector.value().connect(options.addresses[0], attempt).ok());
        EXPECT_EQ(attempt.peer(), "127.0.0.1");
    }
    EXPECT_EQ(server.accepted(), 4U);
}

void wait_for_connections(const ClientShell& shell, unsigned count) {
    for (int i = 0; i < 6000 && shell.status().connections != count; ++i)
        std::this_thread::sleep_for(5ms);
}

// A name may stand for several servers, and each has a cache of its own.
TEST(ConnectorTest, AllConnectionsOfADiskGoToOneServerOfAName) {
    BlockServer server(disk_size);
    const OtherHost other(server.address().port);
    if (!other.there()) GTEST_SKIP() << "the port is not free at 127.0.0.2";
    auto options = options_for(server.address());
    options.addresses[0].host = several;
    options.connections = 4;
    asked = 0;
    auto opened = ClientShell::open(std::move(options));
    ASSERT_TRUE(opened.ok()) << describe(opened.error());
    auto& shell = *opened.value();
    wait_for_connections(shell, 4);
    EXPECT_EQ(shell.status().connections, 4U);
    EXPECT_EQ(other.came(), 0U);
}

TEST(ConnectorTest, FurtherConnectionsGoToTheHostThatTookOver) {
    auto first = std::make_unique<BlockServer>(disk_size);
    BlockServer second(disk_size, BlockServer::usual_flags, "127.0.0.2");
    auto options = options_for(first->address());
    options.addresses.push_back(second.address());
    options.connections = 2;
    options.reconnect.delay = 10ms;
    options.reconnect.delay_max = 100ms;
    auto opened = ClientShell::open(std::move(options));
    ASSERT_TRUE(opened.ok()) << describe(opened.error());
    const auto& shell = *opened.value();
    wait_for_connections(shell, 2);
    ASSERT_EQ(shell.status().connections, 2U);
    first.reset();
    wait_for_connections(shell, 0);
    wait_for_connections(shell, 2);
    EXPECT_EQ(shell.status().connections, 2U);
    EXPECT_GE(second.accepted(), 2U);
}

/// Connects, and gives it up as soon as the server has said so.
Fault given_up(const ScriptedServer& server, std::promise<void>& reached, TlsMode tls) {
    auto options = options_for(server.address());
    options.tls.mode = tls;
    const auto connector = Connector::create(options);
    EXPECT_TRUE(connector.ok());
    Attempt attempt;
    std::thread giving_up([&] {
        reached.get_future().wait();
        std::this_thread::sleep_for(20ms);
        attempt.abandon();
    });
    const auto connected = connector.value().connect(options.addresses[0], attempt);
    giving_up.join();
    EXPECT_FALSE(connected.ok());
    return connected.ok() ? Fault{} : connected.error();
}

TEST(ConnectorTest, AnAttemptIsGivenUpWhileTheServerIsSilent) {
    std::promise<void> reached;
    ScriptedServer server([&](Peer& peer) {
        reached.set_value();
        peer.wait_for_end();
    });
    EXPECT_EQ(given_up(server, reached, TlsMode::off).code, FaultCode::closed);
}

TEST(ConnectorTest, AnAttemptIsGivenUpInTheMiddleOfTls) {
    std::promise<void> reached;
    ScriptedServer server([&](Peer& peer) {
        peer.send(test::greeting());
        (void)peer.receive(4 + 16);
        peer.send(test::option_reply_header(static_cast<std::uint32_t>(OptionReply::ack), 0,
                                            Option::starttls));
        (void)peer.receive(16);
        reached.set_value();
        peer.wait_for_end();
    });
    EXPECT_EQ(given_up(server, reached, TlsMode::require).code, FaultCode::closed);
}

TEST(ConnectorTest, AnAttemptThatWasGivenUpBeforeGoesNowhere) {
    BlockServer server(disk_size);
    const auto options = options_for(server.address());
    const auto connector = Connector::create(options);
    Attempt attempt;
    attempt.abandon();
    const auto connected = connector.value().connect(options.addresses[0], attempt);
    ASSERT_FALSE(connected.ok());
    EXPECT_EQ(connected.error().code, FaultCode::closed);
}

}  // namespace
}  // namespace wnbd::nbd
