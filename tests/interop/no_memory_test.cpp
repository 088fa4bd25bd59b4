// SPDX-License-Identifier: LGPL-2.1-or-later
// A client that gets no memory while its server is away goes on trying; one that gets none when it
// is opened leaves nothing behind.
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
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

TEST(NoMemory, WhatCannotBeOpenedIsGoneAgain) {
    const TemporaryDirectory folder;
    const auto socket = folder.file("socket");
    const ServerProcess server({"nbdkit", "-f", "-U", socket, "memory", "1M"}, socket,
                               std::uint16_t{0});
    const nbd::ClientOptions options{.addresses = {{.socket_path = socket}}, .connections = 1};
    unsigned failed = 0;
    bool refused = true;
    for (std::int64_t before = 0; refused; ++before) {
        std::unique_ptr<nbd::ClientShell> shell;
        refuse_allocation_after(before);
        try {
            auto opened = nbd::ClientShell::open(options);
            if (opened) shell = std::move(opened.value());
        } catch (const std::exception&) {
            shell.reset();
        }
        refused = allocation_was_refused();
        refuse_no_allocation();
        if (shell == nullptr) ++failed;
    }
    EXPECT_GT(failed, 10U);
}

// The attempt outlives its stream: whoever closes the client tells it to give up.
TEST(NoMemory, AnAttemptThatFailedInItsTlsLetsGoOfItsStream) {
    // What was given back is no vtable any more.
    ASSERT_EQ(::mallopt(M_PERTURB, 0xA5), 1);
    const TemporaryDirectory folder;
    const auto socket = folder.file("socket");
    const auto keys = folder.file("keys.psk");
    std::ofstream(keys) << "alice:" << std::string(64, '7') << "\n";
    const ServerProcess server(
        {"nbdkit", "-f", "-U", socket, "--tls=require", "--tls-psk=" + keys, "memory", "1M"},
        socket, std::uint16_t{0});
    nbd::ClientOptions options{.addresses = {{.socket_path = socket}}, .connections = 2};
    options.tls.mode = nbd::TlsMode::require;
    options.tls.psk_file = keys;
    options.tls.psk_user = "alice";
    exempt_this_thread(true);
    // Nobody but the threads of the client, which open the second connection; and only its large
    // buffers, because GnuTLS's arithmetic ends a process that it gets no memory in.
    constexpr std::size_t large = 64U << 10;  // bytes
    unsigned failed = 0;
    bool refused = true;
    for (std::int64_t before = 0; refused; ++before) {
        refuse_allocation_after(before, large);
        auto opened = nbd::ClientShell::open(options);
        ASSERT_TRUE(opened.ok()) << nbd::describe(opened.error());
        auto& shell = *opened.value();
        EXPECT_TRUE(wait_until(
            [&] { return shell.status().connections == 2 || allocation_was_refused(); }));
        std::this_thread::sleep_for(2ms);
        refused = allocation_was_refused();
        refuse_no_allocation();
        if (shell.status().connections == 1) ++failed;
        shell.close(false);
    }
    exempt_this_thread(false);
    (void)::mallopt(M_PERTURB, 0);
    EXPECT_GT(failed, 0U);
}

}  // namespace
}  // namespace wnbd::test
