// SPDX-License-Identifier: LGPL-2.1-or-later
// How an NBD disk ends, and what a server's block status becomes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <mutex>
#include <string>
#include <vector>

#include "backend/blocking.h"
#include "backend/nbd_backend.h"
#include "nbd/scripted_server.h"

namespace wnbd::backend {
namespace {

using nbd::CommandType;
using nbd::test::Peer;
using nbd::test::ScriptedServer;
using nbd::test::Wire;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

constexpr std::uint16_t all_flags = nbd::transmission_has_flags | nbd::transmission_send_flush |
                                    nbd::transmission_send_fua | nbd::transmission_send_trim |
                                    nbd::transmission_send_write_zeroes;

Wire answer(std::uint16_t flags = all_flags) {
    return nbd::test::export_info(1U << 20, flags).append(nbd::test::ack());
}

Result<std::unique_ptr<Backend>, std::string> try_open(const ScriptedServer& server,
                                                       nbd::ClientOptions options = {}) {
    options.addresses = {server.address()};
    options.reconnect.timeout = 0ms;
    return NbdBackend::open(options);
}

/// Serves with simple replies and notes what it was asked; flushes end with `flush_error`.
struct Server {
    std::uint32_t flush_error = 0;
    std::vector<CommandType> types{};

    void serve(Peer& peer, const Wire& negotiation) {
        peer.negotiate(negotiation);
        for (;;) {
            const auto request = peer.request();
            if (request.type == 0xffff) return;
            const auto type = static_cast<CommandType>(request.type);
            types.push_back(type);
            if (type == CommandType::disconnect) return;
            if (type == CommandType::write) (void)peer.receive(request.length);
            peer.send(nbd::test::simple_reply(request.handle,
                                              type == CommandType::flush ? flush_error : 0));
        }
    }
};

class Listener final : public Observer {
  public:
    void told(Weight weight, const std::string& line) noexcept override {
        const std::lock_guard lock(lock_);
        if (weight == Weight::warning) warnings_.push_back(line);
    }
    void resized(std::uint64_t /*size*/) noexcept override {}
    std::vector<std::string> warnings() {
        const std::lock_guard lock(lock_);
        return warnings_;
    }

  private:
    std::mutex lock_;
    std::vector<std::string> warnings_;
};

TEST(NbdBackendEnds, AFlushThatFailsAtTheEndIsTold) {
    Server script{.flush_error = nbd::error_io};
    ScriptedServer server([&](Peer& peer) { script.serve(peer, answer()); });
    Listener listener;
    auto disk = std::move(try_open(server).value());
    disk->observe(&listener);
    Bytes bytes(512);
    EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::none);
    disk->close();
    EXPECT_THAT(listener.warnings(), ElementsAre(HasSubstr("the last flush did not succeed")));
    EXPECT_EQ(disk->failure(), "") << "it was closed";
}

TEST(NbdBackendEnds, AFlushThatCouldNotBeSentIsTold) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(answer());
        const auto request = peer.request();
        (void)peer.receive(request.length);
        peer.send(nbd::test::simple_reply(request.handle));
        (void)peer.request();  // which is never answered
        peer.wait_for_end();
    });
    Listener listener;
    auto disk = std::move(try_open(server, {.close_time_max = 50ms}).value());
    disk->observe(&listener);
    Bytes bytes(512);
    EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::none);
    Request stuck{.length = bytes.size(), .buffer = bytes};
    stuck.done = [](Request& /*request*/, Error /*error*/) noexcept {};
    disk->submit(stuck);
    disk->close();
    EXPECT_THAT(listener.warnings(), ElementsAre(HasSubstr("the last flush did not succeed")));
}

TEST(NbdBackendEnds, AnEndWithNothingToFlushIsNothingToTell) {
    Server script;
    {
        ScriptedServer server([&](Peer& peer) { script.serve(peer, answer()); });
        Listener listener;
        auto disk = std::move(try_open(server).value());
        disk->observe(&listener);
        disk->close();
        EXPECT_THAT(listener.warnings(), IsEmpty());
    }
    EXPECT_THAT(script.types, ElementsAre(CommandType::disconnect));
}

TEST(NbdBackendEnds, EveryKindOfChangeIsFlushedAtTheEnd) {
    for (const auto operation : {Operation::trim, Operation::write_zeroes}) {
        Server script;
        {
            ScriptedServer server([&](Peer& peer) { script.serve(peer, answer()); });
            const auto disk = std::move(try_open(server).value());
            EXPECT_EQ(perform_blocking(*disk, {.operation = operation, .length = 512}),
                      Error::none);
        }
        ASSERT_EQ(script.types.size(), 3U);
        EXPECT_EQ(script.types[1], CommandType::flush);
    }
}

TEST(NbdBackendEnds, ALossIsNoEventOfItsOwnWhereRequestsTellIt) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(answer());
        (void)peer.request();
    });
    Listener listener;
    const auto disk = std::move(try_open(server).value());
    disk->observe(&listener);
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::disconnected);
    disk->close();
    EXPECT_THAT(listener.warnings(), IsEmpty());
    EXPECT_THAT(disk->failure(), HasSubstr("closed the connection"));
}

TEST(NbdBackendEnds, AReadOnlyDiskNeedsNoFlushToBeWrittenThrough) {
    Server script;
    ScriptedServer server([&](Peer& peer) {
        script.serve(peer, answer(nbd::transmission_has_flags | nbd::transmission_read_only));
    });
    EXPECT_TRUE(try_open(server, {.write_through = true}).ok());
}

TEST(NbdBackendEnds, NoRequestIsLargerThanOurOwnLimit) {
    ScriptedServer server([](Peer& peer) {
        peer.negotiate(nbd::test::export_info(1U << 20, all_flags)
                           .append(nbd::test::block_size_info(1, 4096, 0xffffffff))
                           .append(nbd::test::ack()));
        peer.wait_for_end();
    });
    const auto disk = std::move(try_open(server).value());
    EXPECT_EQ(disk->properties().maximum_payload, nbd::default_maximum_payload);
}

TEST(NbdBackendEnds, LengthsAreOfWholeBlocksToo) {
    Server script;
    ScriptedServer server([&](Peer& peer) {
        script.serve(peer, nbd::test::export_info(1U << 20, all_flags)
                               .append(nbd::test::block_size_info(4096, 4096, 65536))
                               .append(nbd::test::ack()));
    });
    const auto disk = std::move(try_open(server).value());
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk, 4096, bytes), Error::invalid);
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::trim, .length = 4095}),
              Error::invalid);
}

/// A server with structured replies and block status, that says the same of any range: as many
/// bytes as it is told of each kind.
void serve_status(Peer& peer, std::uint32_t error) {
    using nbd::Option;
    using nbd::OptionReply;
    constexpr std::uint32_t context = 3;
    const auto say = [&](Option option, OptionReply type, const Wire& payload = {}) {
        peer.send(nbd::test::option_reply_header(static_cast<std::uint32_t>(type),
                                                 static_cast<std::uint32_t>(payload.bytes().size()),
                                                 option)
                      .append(payload));
    };
    peer.send(nbd::test::greeting());
    (void)peer.receive(4);
    for (auto option = Option::abort; option != Option::go;) {
        const auto header = peer.receive(16);
        if (header.size() != 16) return;
        option = static_cast<Option>(load_big_endian<std::uint32_t>(&header[8]));
        (void)peer.receive(load_big_endian<std::uint32_t>(&header[12]));
        if (option == Option::extended_headers) {
            say(option, OptionReply::error_unsupported);
            continue;
        }
        if (option == Option::set_meta_context)
            say(option, OptionReply::meta_context, Wire().put(context).text("base:allocation"));
        if (option == Option::go) peer.send(nbd::test::export_info(1U << 20));
        say(option, OptionReply::ack);
    }
    for (;;) {
        const auto request = peer.request();
        if (request.type != static_cast<std::uint16_t>(CommandType::block_status)) return;
        Wire payload;
        if (error != 0)
            payload.put(error).put<std::uint16_t>(0);
        else
            for (const std::uint32_t flags : {0U, nbd::allocation_hole, nbd::allocation_zero,
                                              nbd::allocation_hole | nbd::allocation_zero}) {
                if (flags == 0) payload.put(context);
                payload.put<std::uint32_t>(4096).put(flags);
            }
        const auto type = error != 0 ? nbd::ReplyType::error : nbd::ReplyType::block_status;
        peer.send(nbd::test::chunk(nbd::WireFormat::structured, type, nbd::reply_flag_done,
                                   request.handle, 0, payload));
    }
}

struct Asked {
    std::array<Extent, 8> runs{};
    std::size_t count = 99;
    Error error = Error::none;
};

Asked ask(Backend& disk, std::size_t room = 8) {
    Asked asked;
    Request request{.operation = Operation::extents,
                    .length = 65536,
                    .extents = std::span(asked.runs).first(room)};
    asked.error = submit_blocking(disk, request);
    asked.count = request.extent_count;
    return asked;
}

TEST(NbdBackendExtents, HolesAndZeroesAreTwoThings) {
    ScriptedServer server([](Peer& peer) { serve_status(peer, 0); });
    const auto disk = std::move(try_open(server).value());
    ASSERT_TRUE(disk->properties().can_tell_extents);
    const auto asked = ask(*disk);
    ASSERT_EQ(asked.error, Error::none);
    ASSERT_EQ(asked.count, 4U);
    const auto kind = [&](std::size_t at) {
        EXPECT_EQ(asked.runs[at].length, 4096U);
        return std::pair(asked.runs[at].allocated, asked.runs[at].zeroes);
    };
    EXPECT_EQ(kind(0), std::pair(true, false));
    EXPECT_EQ(kind(1), std::pair(false, false));
    EXPECT_EQ(kind(2), std::pair(true, true));
    EXPECT_EQ(kind(3), std::pair(false, true));
    // No more than there is room for.
    EXPECT_EQ(ask(*disk, 2).count, 2U);
    EXPECT_EQ(ask(*disk, 0).error, Error::invalid);
}

TEST(NbdBackendExtents, AnErrorTellsNone) {
    ScriptedServer server([](Peer& peer) { serve_status(peer, nbd::error_io); });
    const auto disk = std::move(try_open(server).value());
    const auto asked = ask(*disk);
    EXPECT_EQ(asked.error, Error::io);
    EXPECT_EQ(asked.count, 0U);
    // Beyond the end nothing is changed, so nothing lacks space.
    EXPECT_EQ(perform_blocking(
                  *disk, {.operation = Operation::extents,
                          .offset = 1U << 20,
                          .length = 512,
                          .extents = std::span<Extent>(const_cast<Extent*>(asked.runs.data()), 8)}),
              Error::invalid);
}

}  // namespace
}  // namespace wnbd::backend
