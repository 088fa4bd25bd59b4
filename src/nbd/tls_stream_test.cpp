// SPDX-License-Identifier: LGPL-2.1-or-later
// Data over TLS: nothing is lost, doubled or taken for an end that is none.
#include "nbd/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <thread>

#include "nbd/tls_buffer.h"
#include "nbd/tls_test_server.h"

namespace wnbd::nbd::test {
namespace {

using Status = IoResult::Status;
using std::chrono::steady_clock;

Bytes pattern(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    Bytes bytes(size);
    for (auto& byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

IoSlice slice(Bytes& bytes) {
    return {bytes.data(), bytes.size()};
}

/// A client's stream whose handshake is done, with the way to its server at hand.
struct Pair {
    explicit Pair(const TlsServer::Options& options = {}, std::size_t piece_max = SIZE_MAX)
        : server(options) {
        TlsSettings settings;
        settings.use_certificate_folder(certificates());
        auto credentials = TlsCredentials::load(settings);
        EXPECT_TRUE(credentials.ok());
        auto way = std::make_unique<ServerStream>(server);
        carrier = way.get();
        carrier->piece_max = piece_max;
        auto opened = TlsStream::open(std::move(way), credentials.value(), "localhost",
                                      steady_clock::now() + std::chrono::seconds(60));
        if (!opened) throw std::runtime_error(describe(opened.error()));
        stream = std::move(opened.value());
        server.pump();
        EXPECT_TRUE(server.established);
    }

    /// Sends everything, waiting for room as a sender does.
    void send_all(std::vector<IoSlice> slices) const {
        std::span<IoSlice> left(slices);
        while (!left.empty()) {
            const auto sent = stream->send(left.first(std::min(left.size(), Stream::max_slices)));
            if (sent.status == Status::would_block) {
                (void)stream->wait({.room = true});
                continue;
            }
            ASSERT_EQ(sent.status, Status::ok);
            auto bytes = sent.bytes;
            while (!left.empty() && bytes >= left.front().size) {
                bytes -= left.front().size;
                left = left.subspan(1);
            }
            if (left.empty()) break;
            left.front().data += bytes;
            left.front().size -= bytes;
        }
    }
    [[nodiscard]] Bytes receive(std::size_t size, std::size_t piece) const {
        Bytes all;
        while (all.size() < size) {
            Bytes part(std::min(piece, size - all.size()));
            const auto into = slice(part);
            const auto got = stream->receive({&into, 1});
            if (got.status == Status::would_block) {
                (void)stream->wait({});
                continue;
            }
            EXPECT_EQ(got.status, Status::ok) << describe(stream->failure());
            if (got.status != Status::ok) break;
            all.insert(all.end(), part.begin(),
                       part.begin() + static_cast<std::ptrdiff_t>(got.bytes));
        }
        return all;
    }
    [[nodiscard]] IoResult receive_once() const {
        Bytes part(100);
        const auto into = slice(part);
        return stream->receive({&into, 1});
    }

    TlsServer server;
    ServerStream* carrier = nullptr;
    std::unique_ptr<TlsStream> stream;
};

TEST(TlsStream, CarriesBytesBothWaysInAnyPieces) {
    for (const char* version : {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"}) {
        for (const std::size_t piece : {std::size_t{1}, std::size_t{777}, SIZE_MAX}) {
            Pair pair({.priority = version}, piece);
            auto up = pattern(piece == 1 ? 20'000 : 3'000'000, 1);
            const auto down = pattern(piece == 1 ? 20'000 : 3'000'000, 2);
            // A header, a payload, another header: as requests are.
            pair.send_all({{up.data(), 28},
                           {up.data() + 28, up.size() - 56},
                           {nullptr, 0},
                           {up.data() + up.size() - 28, 28}});
            pair.server.pump();
            EXPECT_TRUE(pair.server.plain == up) << version << piece;
            pair.server.write(down);
            EXPECT_TRUE(pair.receive(down.size(), piece == 1 ? 16 : 50'001) == down);
        }
    }
}

TEST(TlsStream, ABatchOfRequestsLeavesInOneCall) {
    Pair pair;
    auto bytes = pattern(std::size_t{256} * 28, 3);
    std::vector<IoSlice> slices;
    slices.reserve(256);
    for (std::size_t i = 0; i < 256; ++i)
        slices.push_back({bytes.data() + i * 28, 28});
    const auto sends = pair.carrier->sends;
    const auto sent = pair.stream->send(slices);
    EXPECT_EQ(sent.bytes, bytes.size());
    EXPECT_EQ(pair.carrier->sends, sends + 1);
    pair.server.pump();
    EXPECT_TRUE(pair.server.plain == bytes);
}

TEST(TlsStream, AFullCarrierLosesAndDoublesNothing) {
    for (const std::size_t room : {std::size_t{1}, std::size_t{1000}, std::size_t{100'000}}) {
        Pair pair;
        auto bytes = pattern(room == 1 ? 5'000 : 1'000'000, 4);
        pair.carrier->room = 10;
        pair.carrier->room_each = room;
        pair.send_all({{bytes.data(), 28}, {bytes.data() + 28, bytes.size() - 28}});
        pair.server.pump();
        EXPECT_TRUE(pair.server.plain == bytes) << room;
    }
}

TEST(TlsStream, WhatIsNotOutIsNotCalledTaken) {
    Pair pair;
    auto bytes = pattern(1000, 5);
    const auto all = slice(bytes);
    pair.carrier->room = 100;
    pair.carrier->room_each = ServerStream::unlimited - 1;
    EXPECT_EQ(pair.stream->send({&all, 1}).status, Status::would_block);
    EXPECT_TRUE(pair.stream->wait({.room = true}).writable);
    // A caller may come back with less of it, as long as it is the same.
    const IoSlice half{bytes.data(), 500};
    EXPECT_EQ(pair.stream->send({&half, 1}).bytes, 500U);
    const IoSlice rest{bytes.data() + 500, 500};
    EXPECT_EQ(pair.stream->send({&rest, 1}).bytes, 500U);
    pair.server.pump();
    EXPECT_TRUE(pair.server.plain == bytes);
}

TEST(TlsStream, WaitingForgetsNothingThatIsAlreadyHere) {
    Pair pair;
    pair.server.write(Bytes(40'000, 7));
    Bytes part(100);
    const auto into = slice(part);
    ASSERT_EQ(pair.stream->receive({&into, 1}).bytes, 100U);
    const auto waits = pair.carrier->waits;
    EXPECT_TRUE(pair.stream->wait({}).readable);
    EXPECT_EQ(pair.carrier->waits, waits);
    EXPECT_TRUE(pair.stream->wait({.room = true}).writable);
    EXPECT_EQ(pair.receive(39'900, 4096), Bytes(39'900, 7));
    EXPECT_EQ(pair.receive_once().status, Status::would_block);
    (void)pair.stream->wait({});
    EXPECT_EQ(pair.carrier->waits, waits + 2);
}

TEST(TlsStream, AFarewellIsAnEnd) {
    Pair pair;
    pair.server.write({1, 2, 3});
    pair.server.say_goodbye();
    EXPECT_EQ(pair.receive_once().bytes, 3U);
    EXPECT_TRUE(pair.stream->wait({}).readable);
    EXPECT_EQ(pair.receive_once().status, Status::closed);
    EXPECT_EQ(pair.stream->failure().code, FaultCode::none);
}

TEST(TlsStream, AnEndWithoutAFarewellIsAFault) {
    Pair pair;
    pair.server.write({1, 2, 3});
    pair.carrier->hang_up = true;
    EXPECT_EQ(pair.receive_once().bytes, 3U);
    EXPECT_EQ(pair.receive_once().status, Status::failed);
    EXPECT_EQ(pair.stream->failure().code, FaultCode::tls_truncated);
}

TEST(TlsStream, AnEndWithinARecordIsAFault) {
    Pair pair;
    pair.server.write(Bytes(1000, 1));
    pair.server.out.pop_back();
    pair.carrier->hang_up = true;
    EXPECT_EQ(pair.receive_once().status, Status::failed);
    EXPECT_EQ(pair.stream->failure().code, FaultCode::tls_truncated);
}

TEST(TlsStream, AChangedByteIsAFaultAndSoIsWhatFollows) {
    Pair pair;
    pair.server.write({1, 2, 3});
    const auto good = pair.server.out.size();
    pair.server.write({4, 5, 6});
    pair.server.out[good + 9] ^= 1;
    pair.server.write({7, 8, 9});
    EXPECT_EQ(pair.receive_once().bytes, 3U);
    EXPECT_TRUE(pair.stream->wait({}).readable);
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(pair.receive_once().status, Status::failed);
    EXPECT_EQ(pair.stream->failure().code, FaultCode::tls_failed);
}

TEST(TlsStream, HostileRecordLengthsAreFaults) {
    for (const unsigned length : {0U, 1U, 16'384U + 2'049U, 65'535U}) {
        Pair pair;
        pair.server.out = {23, 3, 3, static_cast<std::uint8_t>(length >> 8),
                           static_cast<std::uint8_t>(length)};
        pair.server.out.insert(pair.server.out.end(), std::max(length, 400'000U), 0x55);
        auto got = pair.receive_once();
        EXPECT_EQ(got.status, Status::failed) << length;
        EXPECT_NE(pair.stream->failure().code, FaultCode::none);
    }
}

TEST(TlsStream, AnAlertIsNamed) {
    Pair pair;
    pair.server.alert(GNUTLS_A_ACCESS_DENIED);
    EXPECT_EQ(pair.receive_once().status, Status::failed);
    EXPECT_EQ(pair.stream->failure().code, FaultCode::tls_alert);
    EXPECT_EQ(describe(pair.stream->failure()),
              "the server ended TLS with the alert 'access denied' (49)");
}

TEST(TlsStream, KeysChangeOnTheWay) {
    for (const bool ours_too : {false, true}) {
        Pair pair({.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3"});
        auto bytes = pattern(10'000, 6);
        for (int i = 0; i < 5; ++i) {
            pair.server.update_key(ours_too);
            pair.server.write(bytes);
            EXPECT_TRUE(pair.receive(bytes.size(), 3000) == bytes);
            pair.send_all({slice(bytes)});
            pair.server.pump();
        }
        EXPECT_EQ(pair.server.plain.size(), 5 * bytes.size());
        EXPECT_EQ(pair.server.error, 0);
    }
}

TEST(TlsStream, ShuttingDownSaysFarewellFirst) {
    Pair pair;
    auto bytes = pattern(100, 7);
    pair.send_all({slice(bytes)});
    pair.stream->shut_down_send();
    EXPECT_TRUE(pair.carrier->sending_ended);
    pair.server.pump();
    EXPECT_TRUE(pair.server.plain == bytes);
    EXPECT_TRUE(pair.server.ended);
}

TEST(TlsStream, ATornRequestGetsNoFarewell) {
    Pair pair;
    auto bytes = pattern(1000, 8);
    const auto all = slice(bytes);
    pair.carrier->room = 100;
    EXPECT_EQ(pair.stream->send({&all, 1}).status, Status::would_block);
    pair.stream->shut_down_send();
    EXPECT_TRUE(pair.carrier->sending_ended);
    pair.server.pump();
    EXPECT_FALSE(pair.server.ended);
}

TEST(TlsStream, ACarriersFailureIsPassedOn) {
    Pair pair;
    pair.stream->shut_down();
    auto bytes = pattern(100, 9);
    const auto all = slice(bytes);
    const auto sent = pair.stream->send({&all, 1});
    EXPECT_EQ(sent.status, Status::failed);
    EXPECT_EQ(sent.error, EPIPE);
}

/// Both ways at once: each direction has a thread and a queue of its own.
class Halves final : public Stream {
  public:
    explicit Halves(std::deque<std::uint8_t>& down, std::deque<std::uint8_t>& up)
        : down_(down), up_(up) {}
    IoResult send(std::span<const IoSlice> slices) noexcept override {
        up_.insert(up_.end(), slices[0].data, slices[0].data + slices[0].size);
        return {.bytes = slices[0].size};
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        const auto count = std::min(slices[0].size, down_.size());
        if (count == 0) return {.status = Status::would_block};
        std::copy_n(down_.begin(), count, slices[0].data);
        down_.erase(down_.begin(), down_.begin() + static_cast<std::ptrdiff_t>(count));
        return {.bytes = count};
    }
    Ready wait(const WaitFor&) noexcept override { return {.readable = true}; }
    void wake() noexcept override {}
    void shut_down() noexcept override {}
    void shut_down_send() noexcept override {}

  private:
    std::deque<std::uint8_t>& down_;
    std::deque<std::uint8_t>& up_;
};

TEST(TlsStream, OneThreadSendsWhileAnotherReceives) {
    const auto down = pattern(4'000'000, 10);
    auto up = pattern(4'000'000, 11);

    TlsServer server{TlsServer::Options{}};
    TlsSettings settings;
    settings.use_certificate_folder(certificates());
    auto session = TlsSession::create(TlsCredentials::load(settings).value(), "localhost");
    ASSERT_TRUE(session.ok());
    auto& client = *session.value();
    for (bool done = false; !done;) {
        auto step = client.handshake();
        ASSERT_TRUE(step.ok());
        done = step.value();
        server.in.insert(server.in.end(), client.output().begin(), client.output().end());
        client.sent(client.output().size());
        server.pump();
        const auto count = std::min(client.receive_window().size(), server.out.size());
        std::copy_n(server.out.begin(), count, client.receive_window().data());
        client.received(count);
        server.out.erase(server.out.begin(),
                         server.out.begin() + static_cast<std::ptrdiff_t>(count));
    }
    server.pump();
    server.write(down);
    TlsStream stream(std::make_unique<Halves>(server.out, server.in), std::move(session.value()));

    std::thread sender([&] {
        std::size_t done = 0;
        while (done < up.size()) {
            const IoSlice piece{up.data() + done, std::min<std::size_t>(100'000, up.size() - done)};
            done += stream.send({&piece, 1}).bytes;
        }
    });
    Bytes seen(down.size());
    std::size_t done = 0;
    while (done < seen.size()) {
        const IoSlice piece{seen.data() + done, std::min<std::size_t>(50'000, seen.size() - done)};
        done += stream.receive({&piece, 1}).bytes;
    }
    sender.join();
    EXPECT_TRUE(seen == down);
    server.pump();
    EXPECT_TRUE(server.plain == up);
}

TEST(TlsBuffer, CutsCountsThatAreTooLarge) {
    TlsBuffer buffer(10);
    EXPECT_EQ(buffer.room().size(), 10U);
    buffer.put(SIZE_MAX);
    EXPECT_EQ(buffer.content().size(), 10U);
    EXPECT_TRUE(buffer.room().empty());
    buffer.put(1);
    EXPECT_EQ(buffer.content().size(), 10U);
    buffer.take(4);
    EXPECT_EQ(buffer.room().size(), 4U);
    buffer.take(SIZE_MAX);
    EXPECT_TRUE(buffer.empty());
    buffer.take(1);
    EXPECT_EQ(buffer.room().size(), 10U);
}

TEST(TlsBuffer, KeepsItsContentInOrderAndInOnePiece) {
    TlsBuffer buffer(8);
    EXPECT_EQ(buffer.append(Bytes{1, 2, 3, 4, 5, 6}), 6U);
    buffer.take(4);
    EXPECT_EQ(buffer.append(Bytes{7, 8, 9, 10, 11, 12, 13}), 6U);
    const auto content = buffer.content();
    EXPECT_EQ(Bytes(content.begin(), content.end()), (Bytes{5, 6, 7, 8, 9, 10, 11, 12}));
    EXPECT_EQ(buffer.append(Bytes{1}), 0U);
}

}  // namespace
}  // namespace wnbd::nbd::test
