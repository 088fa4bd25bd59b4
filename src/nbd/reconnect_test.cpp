// SPDX-License-Identifier: LGPL-2.1-or-later
// The client with its threads, and servers that come and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "nbd/block_server.h"
#include "nbd/client_shell.h"

namespace wnbd::nbd {
namespace {

using test::BlockServer;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;
using Kind = ClientEvent::Kind;
using Phase = Client::Phase;
using namespace std::chrono_literals;

constexpr std::uint64_t disk_size = 4U << 20;

class Events final : public ClientObserver {
  public:
    void happened(const ClientEvent& event) noexcept override {
        const std::lock_guard lock(lock_);
        events_.push_back(event);
        changed_.notify_all();
    }
    bool wait_for(Kind kind, std::size_t count = 1) {
        std::unique_lock lock(lock_);
        return changed_.wait_for(lock, 30s, [&] { return count_of(kind) >= count; });
    }
    std::string text(Kind kind) {
        const std::lock_guard lock(lock_);
        for (const auto& event : events_)
            if (event.kind == kind) return event.text;
        return {};
    }

  private:
    std::size_t count_of(Kind kind) const {
        return static_cast<std::size_t>(
            std::count_if(events_.begin(), events_.end(),
                          [&](const ClientEvent& event) { return event.kind == kind; }));
    }
    std::mutex lock_;
    std::condition_variable changed_;
    std::vector<ClientEvent> events_;
};

ClientOptions options_for(std::vector<Address> addresses) {
    ClientOptions options;
    options.addresses = std::move(addresses);
    options.connections = 1;
    options.reconnect = {.delay = 10ms, .delay_max = 100ms, .timeout = 60s};
    return options;
}

struct Opened {
    explicit Opened(ClientOptions options) {
        auto opened = ClientShell::open(std::move(options));
        if (!opened) throw std::runtime_error(describe(opened.error()));
        shell = std::move(opened.value());
        shell->observe(&events);
    }
    ~Opened() {
        shell->observe(nullptr);
        shell->close(false);
    }
    Outcome perform(Command command) {
        struct Waiter {
            std::mutex lock;
            std::condition_variable changed;
            bool over = false;
            Outcome outcome;
        } waiter;
        Request request{.command = command, .context = &waiter};
        request.done = [](Request& done, Outcome outcome) noexcept {
            auto& ended = *static_cast<Waiter*>(done.context);
            const std::lock_guard lock(ended.lock);
            ended.outcome = outcome;
            ended.over = true;
            ended.changed.notify_all();
        };
        Request* const list = &request;
        shell->submit({&list, 1});
        std::unique_lock lock(waiter.lock);
        waiter.changed.wait(lock, [&] { return waiter.over; });
        return waiter.outcome;
    }
    Outcome write(std::uint64_t offset, Bytes& bytes) {
        return perform({.type = CommandType::write,
                        .offset = offset,
                        .length = bytes.size(),
                        .data = bytes.data()});
    }
    Outcome read(std::uint64_t offset, Bytes& bytes) {
        return perform({.type = CommandType::read,
                        .offset = offset,
                        .length = bytes.size(),
                        .data = bytes.data()});
    }

    Events events;
    std::unique_ptr<ClientShell> shell;
};

bool good(Outcome outcome) {
    return outcome.error == 0 && !outcome.disconnected;
}

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
    EXPECT_THAT(client.events.text(Kind::returned), HasSubstr("again after"));
    EXPECT_GE(client.shell->status().reconnects, 1U);
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

/// Writers with blocks of their own, over connections that are cut all the time. Each write says
/// who and which it is; after it was acknowledged the block is never seen with an older one.
void storm(unsigned connections) {
    constexpr unsigned writers = 3;
    constexpr unsigned blocks_each = 16;
    constexpr std::size_t block = 4096;
    constexpr unsigned rounds = 150;
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
            for (unsigned round = 1; round <= rounds; ++round) {
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
    EXPECT_GE(client.shell->status().reconnects, 3U);
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
