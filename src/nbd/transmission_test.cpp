// SPDX-License-Identifier: LGPL-2.1-or-later
// The request table, the send batch and the reply parser: transmission without a socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Wire;
using Bytes = std::vector<std::uint8_t>;

/// The core with a caller that completes as a connection does.
struct Core final : ReplySink {
    struct Done {
        void* cookie;
        std::uint32_t error;
        bool operator==(const Done&) const = default;
    };

    explicit Core(std::uint32_t capacity = 8, const WireTerms& terms = {.payload_max = 1U << 20})
        : table(capacity, terms), parser(table, *this) {}

    void replied(Slot& slot, std::uint32_t error) noexcept override {
        if (error == 0 && table.continue_command(slot)) return;
        done.push_back({slot.command.cookie, error});
        table.retire(slot);
    }

    /// Everything that goes on the wire now, `piece` bytes at a time.
    Bytes send(std::size_t piece = SIZE_MAX) {
        Bytes wire;
        batch.fill(table);
        while (!batch.empty()) {
            std::size_t room = piece;
            std::size_t count = 0;
            for (const auto& slice : batch.slices()) {
                const auto part = std::min(slice.size, room);
                wire.insert(wire.end(), slice.data, slice.data + part);
                room -= part;
                count += part;
                if (room == 0) break;
            }
            batch.advance(count, [&](Slot& slot) { handed_over.push_back(slot.command.cookie); });
        }
        return wire;
    }

    FaultCode receive(std::span<const std::uint8_t> bytes, std::size_t piece = SIZE_MAX) {
        auto code = FaultCode::none;
        while (!bytes.empty() && code == FaultCode::none) {
            auto now = bytes.first(std::min(bytes.size(), piece));
            const auto plan = parser.plan();
            std::size_t count = 0;
            for (std::size_t i = 0; i < plan.count; ++i) {
                const auto part = std::min(plan.slices[i].size, now.size());
                if (part > 0) std::memcpy(plan.slices[i].data, now.data(), part);
                now = now.subspan(part);
                count += part;
            }
            bytes = bytes.subspan(count);
            code = parser.received(count).code;
        }
        return code;
    }

    RequestTable table;
    SendBatch batch;
    ReplyParser parser;
    std::vector<Done> done;
    std::vector<void*> handed_over;
};

struct WireRequest {
    std::uint16_t flags;
    std::uint16_t type;
    std::uint64_t handle;
    std::uint64_t offset;
    std::uint32_t length;
};
WireRequest decode(std::span<const std::uint8_t> wire, std::size_t at = 0) {
    EXPECT_GE(wire.size(), at + request_size);
    const auto* const from = wire.data() + at;
    EXPECT_EQ(load_big_endian<std::uint32_t>(from), request_magic);
    return {load_big_endian<std::uint16_t>(from + 4), load_big_endian<std::uint16_t>(from + 6),
            load_big_endian<std::uint64_t>(from + 8), load_big_endian<std::uint64_t>(from + 16),
            load_big_endian<std::uint32_t>(from + 24)};
}

Command read_into(Bytes& buffer, std::uint64_t offset = 0, void* cookie = nullptr) {
    return {.type = CommandType::read,
            .offset = offset,
            .length = buffer.size(),
            .data = buffer.data(),
            .cookie = cookie != nullptr ? cookie : &buffer};
}

TEST(Transmission, RequestsAreEncodedAsTheProtocolSays) {
    Core core;
    Bytes payload{1, 2, 3, 4};
    ASSERT_TRUE(core.table.admit({.type = CommandType::write,
                                  .flags = command_flag_fua,
                                  .offset = 0x123456789a,
                                  .length = 4,
                                  .data = payload.data()}));
    const auto wire = core.send();
    ASSERT_EQ(wire.size(), 32U);
    const auto request = decode(wire);
    EXPECT_EQ(request.type, 1);
    EXPECT_EQ(request.flags, 1);
    EXPECT_EQ(request.offset, 0x123456789aU);
    EXPECT_EQ(request.length, 4U);
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), wire.begin() + 28));
}

TEST(Transmission, FlushCarriesNoRange) {
    Core core;
    ASSERT_TRUE(core.table.admit({.type = CommandType::flush, .offset = 4096, .length = 512}));
    const auto request = decode(core.send());
    EXPECT_EQ(request.type, 3);
    EXPECT_EQ(request.offset, 0U);
    EXPECT_EQ(request.length, 0U);
}

TEST(Transmission, ManyRequestsAreOneGatherList) {
    Core core(128);
    std::vector<Bytes> buffers(100, Bytes(512));
    for (auto& buffer : buffers)
        ASSERT_TRUE(core.table.admit(read_into(buffer)));
    core.batch.fill(core.table);
    EXPECT_EQ(core.batch.slices().size(), 1U);
    EXPECT_EQ(core.batch.slices()[0].size, 100 * request_size);
    EXPECT_FALSE(core.table.anything_to_send());
}

TEST(Transmission, PayloadsAreSentFromTheirPlace) {
    Core core;
    Bytes one(100, 1);
    Bytes two(200, 2);
    for (auto* const buffer : {&one, &two})
        ASSERT_TRUE(core.table.admit(
            {.type = CommandType::write, .length = buffer->size(), .data = buffer->data()}));
    core.batch.fill(core.table);
    ASSERT_EQ(core.batch.slices().size(), 4U);
    EXPECT_EQ(core.batch.slices()[1].data, one.data());
    EXPECT_EQ(core.batch.slices()[3].data, two.data());
}

TEST(Transmission, PartialSendsLoseNothing) {
    Bytes whole;
    for (const std::size_t piece : {SIZE_MAX, std::size_t{1}, std::size_t{7}, std::size_t{29}}) {
        Core core;
        Bytes payload(100, 9);
        Bytes buffer(10);
        ASSERT_TRUE(core.table.admit(
            {.type = CommandType::write, .length = 100, .data = payload.data(), .cookie = &core}));
        ASSERT_TRUE(core.table.admit(read_into(buffer)));
        const auto wire = core.send(piece);
        if (whole.empty()) whole = wire;
        EXPECT_EQ(wire, whole);
        EXPECT_EQ(core.handed_over, std::vector<void*>{&core});
    }
}

TEST(Transmission, RepliesInAnyOrderAndAnyPiecesFillTheirBuffers) {
    static constexpr std::size_t count = 5;
    const auto run = [](std::size_t first_piece, std::size_t piece) {
        Core core;
        std::vector<Bytes> buffers(count, Bytes(33));
        for (auto& buffer : buffers)
            ASSERT_TRUE(core.table.admit(read_into(buffer)));
        const auto sent = core.send();
        Wire server;
        for (std::size_t i = count; i-- > 0;)
            server.append(test::simple_reply(decode(sent, i * request_size).handle))
                .fill(33, static_cast<std::uint8_t>(i + 1));
        const auto& bytes = server.bytes();
        first_piece = std::min(first_piece, bytes.size());
        ASSERT_EQ(core.receive(std::span(bytes).first(first_piece)), FaultCode::none);
        ASSERT_EQ(core.receive(std::span(bytes).subspan(first_piece), piece), FaultCode::none);
        ASSERT_EQ(core.done.size(), count);
        for (std::size_t i = 0; i < count; ++i) {
            EXPECT_EQ(core.done[i], (Core::Done{&buffers[count - 1 - i], 0}));
            EXPECT_EQ(buffers[i], Bytes(33, static_cast<std::uint8_t>(i + 1)));
        }
        EXPECT_TRUE(core.parser.at_boundary());
        EXPECT_EQ(core.table.admitted(), 0U);
    };
    for (std::size_t split = 0; split <= count * 49; ++split)
        run(split, SIZE_MAX);
    run(0, 1);
}

TEST(Transmission, LargePayloadsAreReceivedInPlace) {
    Core core;
    Bytes buffer(300'000);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    const auto handle = decode(core.send()).handle;
    Wire server = test::simple_reply(handle);
    for (std::size_t i = 0; i < buffer.size(); ++i)
        server.put(static_cast<std::uint8_t>(i * 7));
    ASSERT_EQ(core.receive(std::span(server.bytes()).first(1000)), FaultCode::none);
    const auto plan = core.parser.plan();
    ASSERT_EQ(plan.count, 2U);
    EXPECT_EQ(plan.slices[0].data, buffer.data() + 1000 - simple_reply_size);
    EXPECT_EQ(plan.slices[0].size, buffer.size() - (1000 - simple_reply_size));
    ASSERT_EQ(core.receive(std::span(server.bytes()).subspan(1000)), FaultCode::none);
    EXPECT_TRUE(std::equal(buffer.begin(), buffer.end(), server.bytes().begin() + 16));
    EXPECT_EQ(core.done.size(), 1U);
}

TEST(Transmission, ErrorRepliesCarryNoPayload) {
    Core core;
    Bytes buffer(16, 7);
    Bytes second(4);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    ASSERT_TRUE(core.table.admit(read_into(second)));
    const auto sent = core.send();
    ASSERT_EQ(core.receive(test::simple_reply(decode(sent).handle, error_io)
                               .append(test::simple_reply(decode(sent, 28).handle))
                               .text("data")
                               .bytes()),
              FaultCode::none);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&buffer, error_io}, {&second, 0}}));
    EXPECT_EQ(buffer, Bytes(16, 7));
}

TEST(Transmission, RangesBeyond32BitsGoOutInPieces) {
    Core core;
    const std::uint64_t length = (std::uint64_t{5} << 30) + 4096;
    ASSERT_TRUE(core.table.admit(
        {.type = CommandType::trim, .offset = 512, .length = length, .cookie = &core}));
    std::uint64_t at = 512;
    while (core.done.empty()) {
        const auto request = decode(core.send());
        EXPECT_EQ(request.offset, at);
        EXPECT_LE(request.length, max_wire_range);
        at += request.length;
        ASSERT_EQ(core.receive(test::simple_reply(request.handle).bytes()), FaultCode::none);
    }
    EXPECT_EQ(at, 512 + length);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&core, 0}}));
}

TEST(Transmission, PayloadsBeyondTheServersLimitGoOutInPieces) {
    Core core(8, {.payload_max = 1024});
    Bytes buffer(2500);
    ASSERT_TRUE(core.table.admit(read_into(buffer, 100)));
    std::uint8_t value = 1;
    while (core.done.empty()) {
        const auto request = decode(core.send());
        EXPECT_EQ(request.offset, 100 + (value - 1) * 1024U);
        ASSERT_EQ(
            core.receive(test::simple_reply(request.handle).fill(request.length, value++).bytes()),
            FaultCode::none);
    }
    EXPECT_EQ(value, 4);
    EXPECT_EQ(buffer[1023], 1);
    EXPECT_EQ(buffer[1024], 2);
    EXPECT_EQ(buffer[2499], 3);
}

TEST(Transmission, AnErrorEndsACommandOfManyPieces) {
    Core core(8, {.payload_max = 1024});
    Bytes buffer(2500);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    const auto request = decode(core.send());
    ASSERT_EQ(core.receive(test::simple_reply(request.handle, error_no_memory).bytes()),
              FaultCode::none);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&buffer, error_no_memory}}));
    EXPECT_FALSE(core.table.anything_to_send());
}

TEST(Transmission, TableHoldsItsCapacityAndNoMore) {
    Core core(2);
    Bytes buffer(4);
    EXPECT_TRUE(core.table.admit(read_into(buffer)));
    EXPECT_TRUE(core.table.admit(read_into(buffer)));
    EXPECT_FALSE(core.table.admit(read_into(buffer)));
    const auto handle = decode(core.send()).handle;
    EXPECT_EQ(core.receive(test::simple_reply(handle, error_io).bytes()), FaultCode::none);
    EXPECT_TRUE(core.table.admit(read_into(buffer)));
}

TEST(Transmission, WrongRepliesAreNamed) {
    const auto fault_of = [](const Wire& server) {
        Core core;
        Bytes buffer(4);
        EXPECT_TRUE(core.table.admit(read_into(buffer)));
        (void)core.send();
        const auto code = core.receive(server.bytes());
        EXPECT_TRUE(core.done.empty());
        // It stays broken.
        EXPECT_EQ(core.parser.received(0).code, code);
        return code;
    };
    EXPECT_EQ(fault_of(Wire().text("oops")), FaultCode::bad_reply_magic);
    EXPECT_EQ(fault_of(Wire().put(structured_reply_magic)), FaultCode::wrong_reply_kind);
    EXPECT_EQ(fault_of(test::simple_reply(0)), FaultCode::unknown_handle);
    EXPECT_EQ(fault_of(test::simple_reply(0x100000008)), FaultCode::unknown_handle);
    EXPECT_EQ(fault_of(test::simple_reply(0x100000001)), FaultCode::not_in_flight);
    EXPECT_EQ(fault_of(test::simple_reply(0x200000000)), FaultCode::not_in_flight);
}

TEST(Transmission, ASecondReplyToOneRequestIsAFault) {
    Core core;
    Bytes buffer(4);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    const auto handle = decode(core.send()).handle;
    const auto twice =
        test::simple_reply(handle, error_io).append(test::simple_reply(handle, error_io));
    EXPECT_EQ(core.receive(twice.bytes()), FaultCode::not_in_flight);
    EXPECT_EQ(core.done.size(), 1U);
    // Nor does it find the slot's next user.
    Core again;
    ASSERT_TRUE(again.table.admit(read_into(buffer)));
    const auto first = decode(again.send()).handle;
    ASSERT_EQ(again.receive(test::simple_reply(first, error_io).bytes()), FaultCode::none);
    ASSERT_TRUE(again.table.admit(read_into(buffer)));
    EXPECT_NE(decode(again.send()).handle, first);
    EXPECT_EQ(again.receive(test::simple_reply(first).bytes()), FaultCode::not_in_flight);
}

TEST(Transmission, AReplyBeforeTheRequestWasSentFindsNothing) {
    Core core;
    Bytes buffer(4);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    EXPECT_EQ(core.receive(test::simple_reply(0x100000000).bytes()), FaultCode::not_in_flight);
}

}  // namespace
}  // namespace wnbd::nbd
