// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/nbd_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "backend/blocking.h"
#include "nbd/block_server.h"
#include "nbd/scripted_server.h"

namespace wnbd::backend {
namespace {

using nbd::test::Peer;
using nbd::test::ScriptedServer;
using nbd::test::Wire;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

constexpr std::uint16_t all_flags = nbd::transmission_has_flags | nbd::transmission_send_flush |
                                    nbd::transmission_send_fua | nbd::transmission_send_trim |
                                    nbd::transmission_send_write_zeroes;

Wire answer(std::uint64_t size = 64U << 20, std::uint16_t flags = all_flags) {
    return nbd::test::export_info(size, flags).append(nbd::test::ack());
}

std::unique_ptr<Backend> open(const ScriptedServer& server, nbd::ClientOptions options = {}) {
    options.addresses = {server.address()};
    options.reconnect.timeout = 0ms;
    auto opened = NbdBackend::open(options);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error());
    return opened.ok() ? std::move(opened.value()) : nullptr;
}

/// Answers every request with `error` and notes its type.
struct Recorder {
    std::uint32_t error = 0;
    std::vector<std::uint16_t> types{};
    std::vector<std::uint16_t> flags{};

    void serve(Peer& peer, const Wire& negotiation) {
        peer.negotiate(negotiation);
        for (;;) {
            const auto request = peer.request();
            if (request.type == 0xffff) return;
            types.push_back(request.type);
            flags.push_back(request.flags);
            if (request.type == 2) return;
            if (request.type == 1) (void)peer.receive(request.length);
            Wire reply = nbd::test::simple_reply(request.handle, error);
            if (request.type == 0 && error == 0) reply.fill(request.length, 0x33);
            peer.send(reply);
        }
    }
};

TEST(NbdBackend, PropertiesAreTheServers) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(nbd::test::export_info(1000000, nbd::transmission_has_flags |
                                                           nbd::transmission_read_only |
                                                           nbd::transmission_rotational)
                           .append(nbd::test::block_size_info(512, 8192, 65536))
                           .append(nbd::test::ack()));
        peer.wait_for_end();
    });
    const auto disk = open(server);
    const auto& properties = disk->properties();
    EXPECT_EQ(properties.size, 1000000U);
    EXPECT_EQ(properties.minimum_block, 512U);
    EXPECT_EQ(properties.preferred_block, 8192U);
    EXPECT_EQ(properties.maximum_payload, 65536U);
    EXPECT_TRUE(properties.read_only);
    EXPECT_TRUE(properties.rotational);
    EXPECT_FALSE(properties.can_flush || properties.can_fua || properties.can_trim ||
                 properties.can_write_zeroes);
    Bytes bytes(512);
    EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::not_permitted);
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::not_supported);
    EXPECT_EQ(read_blocking(*disk, 100, bytes), Error::invalid);
}

TEST(NbdBackend, EveryErrorOfTheProtocolKeepsItsMeaning) {
    using Pair = std::pair<std::uint32_t, Error>;
    for (const auto& [number, error] :
         {Pair{1, Error::not_permitted}, Pair{5, Error::io}, Pair{12, Error::no_memory},
          Pair{22, Error::invalid}, Pair{28, Error::no_space}, Pair{75, Error::overflow},
          Pair{95, Error::not_supported}, Pair{108, Error::shutting_down},
          Pair{12345, Error::invalid}}) {
        Recorder recorder{.error = number};
        ScriptedServer server([&](Peer& peer) { recorder.serve(peer, answer()); });
        const auto disk = open(server);
        Bytes bytes(512);
        EXPECT_EQ(read_blocking(*disk, 0, bytes), error) << number;
        EXPECT_EQ(write_blocking(*disk, 0, bytes), error) << number;
        EXPECT_EQ(disk->failure(), "");
    }
}

TEST(NbdBackend, OperationsAndFlagsAreTheProtocols) {
    Recorder recorder;
    {
        ScriptedServer server([&](Peer& peer) { recorder.serve(peer, answer()); });
        const auto disk = open(server);
        Bytes bytes(512);
        EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
        EXPECT_EQ(bytes, Bytes(512, 0x33));
        EXPECT_EQ(write_blocking(*disk, 0, bytes, true), Error::none);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::trim, .length = 512}),
                  Error::none);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::write_zeroes,
                                           .force_unit_access = true,
                                           .may_punch_hole = false,
                                           .length = 512}),
                  Error::none);
        disk->close();
        EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::shutting_down);
    }
    // The last flush is close()'s own: something was written. Then the farewell.
    EXPECT_THAT(recorder.types, ElementsAre(0, 1, 3, 4, 6, 3, 2));
    EXPECT_THAT(recorder.flags, ElementsAre(0, 1, 0, 0, 3, 0, 0));
}

TEST(NbdBackend, NothingWrittenNothingFlushed) {
    Recorder recorder;
    {
        ScriptedServer server([&](Peer& peer) { recorder.serve(peer, answer()); });
        const auto disk = open(server);
        Bytes bytes(512);
        EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
    }
    EXPECT_THAT(recorder.types, ElementsAre(0, 2));
}

TEST(NbdBackend, WhatTheServerCannotDoIsNotSent) {
    Recorder recorder;
    {
        ScriptedServer server(
            [&](Peer& peer) { recorder.serve(peer, answer(4096, nbd::transmission_has_flags)); });
        const auto disk = open(server);
        Bytes bytes(512);
        EXPECT_EQ(write_blocking(*disk, 0, bytes, true), Error::not_supported);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::trim, .length = 512}),
                  Error::not_supported);
        EXPECT_EQ(read_blocking(*disk, 4096, bytes), Error::invalid);
        EXPECT_EQ(write_blocking(*disk, 4000, bytes), Error::no_space);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::read}), Error::none);
    }
    EXPECT_THAT(recorder.types, ElementsAre(2));
}

TEST(NbdBackend, WrittenThroughNothingIsVolatile) {
    Recorder recorder;
    {
        ScriptedServer server([&](Peer& peer) { recorder.serve(peer, answer()); });
        const auto disk = open(server, {.write_through = true});
        EXPECT_FALSE(disk->properties().can_flush);
        EXPECT_TRUE(disk->properties().can_fua);
        Bytes bytes(512);
        EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::none);
        EXPECT_EQ(write_blocking(*disk, 0, bytes, true), Error::none);
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
    }
    EXPECT_THAT(recorder.types, ElementsAre(1, 1, 2));
    EXPECT_THAT(recorder.flags, ElementsAre(1, 1, 0));
}

TEST(NbdBackend, WriteThroughIsRefusedWhereItCannotBe) {
    Recorder recorder;
    ScriptedServer server(
        [&](Peer& peer) { recorder.serve(peer, answer(4096, nbd::transmission_has_flags)); });
    const auto opened = NbdBackend::open({.addresses = {server.address()}, .write_through = true});
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error(), HasSubstr("write-through needs a server that can flush"));
}

TEST(NbdBackend, ItsEventsAndItsSizeAreTold) {
    struct Told final : Observer {
        void told(Weight weight, const std::string& line) noexcept override {
            const std::lock_guard lock(mutex);
            if (weight == Weight::warning) warnings += line + "\n";
        }
        void resized(std::uint64_t bytes) noexcept override { size = bytes; }
        std::mutex mutex;
        std::string warnings;
        std::atomic<std::uint64_t> size{0};
    } observer;
    nbd::test::BlockServer server(1U << 20);
    auto opened = NbdBackend::open({.addresses = {server.address()}, .connections = 1});
    ASSERT_TRUE(opened.ok());
    auto& disk = *opened.value();
    disk.observe(&observer);
    server.resize(2U << 20);
    server.cut();
    for (int i = 0; i < 4000 && observer.size == 0; ++i)
        std::this_thread::sleep_for(5ms);
    EXPECT_EQ(observer.size, 2U << 20);
    EXPECT_EQ(disk.size(), 2U << 20);
    EXPECT_EQ(disk.failure(), "");
    Bytes bytes(512, 0x12);
    EXPECT_EQ(write_blocking(disk, (2U << 20) - 512, bytes), Error::none);
    EXPECT_EQ(write_blocking(disk, 2U << 20, bytes), Error::no_space);
    disk.observe(nullptr);
    const std::lock_guard lock(observer.mutex);
    EXPECT_THAT(observer.warnings, HasSubstr("lost the connection to 127.0.0.1:"));
}

struct Counter {
    std::atomic<unsigned> good{0};
    std::atomic<unsigned> disconnected{0};
    std::atomic<unsigned> other{0};

    Request request(std::span<std::uint8_t> buffer) {
        return {.length = buffer.size(),
                .buffer = buffer,
                .done =
                    [](Request& request, Error error) noexcept {
                        auto& counter = *static_cast<Counter*>(request.context);
                        if (error == Error::none)
                            ++counter.good;
                        else if (error == Error::disconnected)
                            ++counter.disconnected;
                        else
                            ++counter.other;
                    },
                .context = this};
    }
    unsigned all() const { return good + disconnected + other; }
    bool wait_for(unsigned count) const {
        for (int i = 0; i < 4000 && all() < count; ++i)
            std::this_thread::sleep_for(5ms);
        return all() == count;
    }
};

TEST(NbdBackend, MoreRequestsThanTheTableHoldsWaitTheirTurn) {
    constexpr unsigned count = 1000;
    Recorder recorder;
    ScriptedServer server([&](Peer& peer) { recorder.serve(peer, answer()); });
    const auto disk = open(server, {.commands_max = 4});
    Counter counter;
    std::vector<Bytes> buffers(count, Bytes(512));
    std::vector<Request> requests;
    for (auto& buffer : buffers)
        requests.push_back(counter.request(buffer));
    std::vector<Request*> list;
    for (auto& request : requests)
        list.push_back(&request);
    disk->submit_many(std::span(list).first(count / 2));
    for (auto& request : std::span(requests).subspan(count / 2))
        disk->submit(request);
    ASSERT_TRUE(counter.wait_for(count));
    EXPECT_EQ(counter.good, count);
    for (const auto& buffer : buffers)
        EXPECT_EQ(buffer, Bytes(512, 0x33));
}

TEST(NbdBackend, LossEndsThoseInFlightThoseWaitingAndThoseToCome) {
    constexpr unsigned count = 100;
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(answer());
        (void)peer.request();
    });
    const auto disk = open(server, {.commands_max = 4});
    Counter counter;
    std::vector<Bytes> buffers(count, Bytes(512));
    std::vector<Request> requests;
    for (auto& buffer : buffers)
        requests.push_back(counter.request(buffer));
    for (auto& request : requests)
        disk->submit(request);
    ASSERT_TRUE(counter.wait_for(count));
    EXPECT_EQ(counter.disconnected, count);
    EXPECT_THAT(disk->failure(), ::testing::Not(::testing::IsEmpty()));
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::disconnected);
}

TEST(NbdBackend, CloseGivesUpOnAServerThatNeverAnswers) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(answer());
        peer.wait_for_end();
    });
    const auto disk = open(server, {.close_time_max = 50ms});
    Counter counter;
    Bytes bytes(512);
    auto request = counter.request(bytes);
    disk->submit(request);
    const auto start = nbd::Clock::now();
    disk->close();
    EXPECT_LT(nbd::Clock::now() - start, 10s);
    EXPECT_EQ(counter.disconnected, 1U);
}

TEST(NbdBackend, RefusalsNameServerExportAndReason) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(nbd::test::option_reply(nbd::OptionReply::error_unknown));
        peer.wait_for_end();
    });
    auto address = server.address();
    address.export_name = "disk\n";
    const auto opened = NbdBackend::open({.addresses = {address}});
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(opened.error(), HasSubstr("cannot open export 'disk?' of NBD server 127.0.0.1:"));
    EXPECT_THAT(opened.error(), HasSubstr("it has no such export"));
}

}  // namespace
}  // namespace wnbd::backend
