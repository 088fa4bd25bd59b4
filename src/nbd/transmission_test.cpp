// SPDX-License-Identifier: LGPL-2.1-or-later
// The request table, the send batch and the reply parser: transmission without a socket.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "nbd/test_core.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Bytes;
using test::Core;
using test::decode;
using test::read_into;
using test::Wire;

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

TEST(Transmission, ALargePayloadBeginsASendOfItsOwn) {
    Core core;
    Bytes small(100);
    Bytes large(SendBatch::large_payload);
    for (auto* const buffer : {&small, &large, &large, &small})
        ASSERT_TRUE(core.table.admit(
            {.type = CommandType::write, .length = buffer->size(), .data = buffer->data()}));
    core.batch.fill(core.table);
    const auto send = [&core] {
        std::size_t bytes = 0;
        for (const auto& slice : core.batch.slices())
            bytes += slice.size;
        core.batch.advance(bytes, [](Slot&) {});
        return bytes;
    };
    EXPECT_EQ(send(), request_size + small.size() + request_size);
    // A part went: the rest is the same send.
    EXPECT_EQ(core.batch.slices()[0].data, large.data());
    core.batch.advance(large.size() - 5, [](Slot&) {});
    EXPECT_EQ(send(), 5 + request_size);
    EXPECT_EQ(core.batch.slices()[0].data, large.data());
    EXPECT_EQ(send(), large.size() + request_size + small.size());
    EXPECT_TRUE(core.batch.empty());
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

TEST(Transmission, ExtendedRequestsHave64BitsOfLengthAndSayThatTheyHaveAPayload) {
    Core core(8, {.format = WireFormat::extended});
    const std::uint64_t length = (std::uint64_t{5} << 40) + 4096;
    Bytes payload{1, 2, 3, 4};
    ASSERT_TRUE(core.table.admit({.type = CommandType::write_zeroes,
                                  .flags = command_flag_no_hole | command_flag_fast_zero,
                                  .offset = 512,
                                  .length = length}));
    ASSERT_TRUE(core.table.admit({.type = CommandType::write,
                                  .flags = command_flag_fua,
                                  .offset = 0x123456789a,
                                  .length = 4,
                                  .data = payload.data()}));
    ASSERT_TRUE(core.table.admit({.type = CommandType::flush, .offset = 4096, .length = 512}));
    const auto wire = core.send();
    ASSERT_EQ(wire.size(), 3 * extended_request_size + 4);
    const auto zeroes = decode(wire, 0, WireFormat::extended);
    EXPECT_EQ(zeroes.flags, command_flag_no_hole | command_flag_fast_zero);
    EXPECT_EQ(zeroes.length, length);
    const auto write = decode(wire, 32, WireFormat::extended);
    EXPECT_EQ(write.flags, command_flag_fua | command_flag_payload_len);
    EXPECT_EQ(write.offset, 0x123456789aU);
    EXPECT_EQ(write.length, 4U);
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), wire.begin() + 64));
    const auto flush = decode(wire, 68, WireFormat::extended);
    EXPECT_EQ(flush.type, 3);
    EXPECT_EQ(flush.offset + flush.length, 0U);
}

TEST(Transmission, ABatchHasRoomForTheMostRequestsOfEitherForm) {
    for (const auto format : {WireFormat::simple, WireFormat::extended}) {
        Core core(200, {.format = format});
        Bytes buffer(4);
        for (unsigned i = 0; i < 200; ++i)
            ASSERT_TRUE(core.table.admit(read_into(buffer, i)));
        core.batch.fill(core.table);
        EXPECT_EQ(core.batch.slices()[0].size, SendBatch::max_requests * header_size(format));
        const auto first = core.batch.slices()[0];
        const std::span wire(first.data, first.size);
        EXPECT_EQ(decode(wire, 127 * header_size(format), format).offset, 127U);
        EXPECT_TRUE(core.table.anything_to_send());
    }
}

TEST(Transmission, CacheCarriesARangeAndNothingElse) {
    Core core;
    ASSERT_TRUE(core.table.admit(
        {.type = CommandType::cache, .offset = 4096, .length = 8192, .cookie = &core}));
    const auto wire = core.send();
    ASSERT_EQ(wire.size(), request_size);
    EXPECT_EQ(decode(wire).type, 5);
    EXPECT_EQ(decode(wire).length, 8192U);
    ASSERT_EQ(core.receive(test::simple_reply(decode(wire).handle).bytes()), FaultCode::none);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&core, 0}}));
}

TEST(Transmission, WhatIsNotAcknowledgedComesBackWholeInOrderOfAdmission) {
    Core core(16, {.payload_max = 1024});
    std::vector<Bytes> buffers(8, Bytes(2500));
    for (std::size_t i = 0; i < 4; ++i)
        ASSERT_TRUE(core.table.admit(read_into(buffers[i], i)));
    const auto wire = core.send();
    // The second is done with an error, the first with a piece; slots are used again.
    ASSERT_EQ(core.receive(test::simple_reply(decode(wire, 28).handle, error_io)
                               .append(test::simple_reply(decode(wire).handle))
                               .fill(1024, 1)
                               .bytes()),
              FaultCode::none);
    for (std::size_t i = 4; i < 8; ++i)
        ASSERT_TRUE(core.table.admit(read_into(buffers[i], i)));
    std::vector<std::uint64_t> offsets;
    core.table.take_back([&](const Command& command) {
        EXPECT_EQ(command.length, 2500U);
        EXPECT_EQ(command.data, static_cast<Bytes*>(command.cookie)->data());
        offsets.push_back(command.offset);
    });
    EXPECT_EQ(offsets, (std::vector<std::uint64_t>{0, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(core.table.admitted(), 0U);
    EXPECT_FALSE(core.table.anything_to_send());
    // A new connection in another form: the old one's handles find nothing in it.
    core.table.begin({.format = WireFormat::structured});
    core.parser.begin();
    core.batch.abandon();
    ASSERT_TRUE(core.table.admit(read_into(buffers[0])));
    EXPECT_EQ(decode(core.send()).length, 2500U);
    EXPECT_EQ(core.receive(test::simple_reply(decode(wire, 56).handle, error_io).bytes()),
              FaultCode::not_in_flight);
}

TEST(Transmission, BeginningAgainForgetsHalfAReply) {
    Core core;
    Bytes buffer(100'000);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    ASSERT_EQ(core.receive(test::simple_reply(decode(core.send()).handle).fill(50'000, 1).bytes()),
              FaultCode::none);
    EXPECT_FALSE(core.parser.at_boundary());
    core.table.take_back([](const Command&) {});
    core.parser.begin();
    EXPECT_TRUE(core.parser.at_boundary());
    ASSERT_EQ(core.parser.plan().count, 1U);
    ASSERT_TRUE(core.table.admit(read_into(buffer)));
    ASSERT_EQ(core.receive(test::simple_reply(decode(core.send()).handle).fill(100'000, 2).bytes()),
              FaultCode::none);
    EXPECT_EQ(buffer, Bytes(100'000, 2));
}

}  // namespace
}  // namespace wnbd::nbd
