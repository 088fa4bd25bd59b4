// SPDX-License-Identifier: LGPL-2.1-or-later
// A client that gets no memory while its server is away goes on trying.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "nbd/client_shell.h"
#include "tests/interop/memory_hooks.h"
#include "tests/interop/server_process.h"

namespace wnbd::test {
namespace {

using namespace std::chrono_literals;
using Kind = nbd::ClientEvent::Kind;

class Listener final : public nbd::ClientObserver {
  public:
    void happened(const nbd::ClientEvent& event) noexcept override {
        if (event.kind == Kind::lost) lost = true;
        if (event.kind == Kind::lost && event.text == "out of memory") without_words = true;
        if (event.kind == Kind::returned) returned = true;
    }
    std::atomic<bool> lost{false};
    std::atomic<bool> without_words{false};
    std::atomic<bool> returned{false};
};

template <typename Reached>
bool wait_until(Reached&& reached) {
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (!reached() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(1ms);
    return reached();
}

TEST(NoMemory, AttemptsFailAndTheNextOneThatGetsSomeDoesNot) {
    const TemporaryDirectory folder;
    const auto socket = folder.file("socket");
    const std::vector<std::string> command{"nbdkit", "-f", "-U", socket, "memory", "1M"};
    auto server = std::make_unique<ServerProcess>(command, socket, std::uint16_t{0});
    nbd::ClientOptions options{.addresses = {{.socket_path = socket}},
                               .connections = 2,
                               .reconnect = {.delay = 5ms, .delay_max = 20ms, .timeout = 60s}};
    auto opened = nbd::ClientShell::open(options);
    ASSERT_TRUE(opened.ok()) << nbd::describe(opened.error());
    auto& shell = *opened.value();
    Listener listener;
    shell.observe(&listener);
    ASSERT_TRUE(wait_until([&] { return shell.status().connections == 2; }));

    exempt_this_thread(true);
    refuse_memory(true);
    server->kill();
    (void)::unlink(socket.c_str());
    EXPECT_TRUE(wait_until([&] { return shell.status().attempts >= 3; }));
    EXPECT_TRUE(listener.lost && listener.without_words);
    // Nothing but memory is missing now.
    server = std::make_unique<ServerProcess>(command, socket, std::uint16_t{0});
    const auto attempts = shell.status().attempts;
    EXPECT_TRUE(wait_until([&] { return shell.status().attempts >= attempts + 3; }));
    EXPECT_EQ(shell.status().phase, nbd::Client::Phase::down);
    EXPECT_EQ(nbd::describe(shell.status().fault), "cannot connect: out of memory");
    refuse_memory(false);
    EXPECT_TRUE(wait_until([&] { return listener.returned.load(); }));
    exempt_this_thread(false);
    shell.observe(nullptr);
    shell.close(false);
}

}  // namespace
}  // namespace wnbd::test
