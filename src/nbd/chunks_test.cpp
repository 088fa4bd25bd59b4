// SPDX-License-Identifier: LGPL-2.1-or-later
// Structured and extended replies: chunks in any order, and from servers that mean no good.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

#include "nbd/test_chunks.h"

namespace wnbd::nbd {
namespace {

using test::Bytes;
using test::context;
using test::Core;
using test::done;
using test::Wire;

class Chunks : public test::ChunkTest {};
INSTANTIATE_TEST_SUITE_P(Formats, Chunks,
                         ::testing::Values(WireFormat::structured, WireFormat::extended));

TEST_P(Chunks, ReadsArePutTogetherInAnyOrderAndAnyPieces) {
    std::vector<unsigned> order{0, 1, 2, 3};
    do {
        for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
            read(12, 100);
            const std::vector<Wire> chunks{data(100, "abc"), hole(103, 4), data(107, "defg"),
                                           data(111, "h")};
            Wire reply;
            for (const auto index : order)
                reply.append(chunks[index]);
            ASSERT_EQ(core.receive(reply.bytes(), piece), FaultCode::none);
            EXPECT_TRUE(core.done.empty());
            ASSERT_EQ(core.receive(end().bytes(), piece), FaultCode::none);
            expect_done(&buffer);
            core.done.clear();
            EXPECT_EQ(text(), std::string_view("abc\0\0\0\0defgh", 12));
            EXPECT_TRUE(core.parser.at_boundary());
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(Chunks, TheLastChunkMayCarryContent) {
    read(4);
    ASSERT_EQ(core.receive(data(0, "ab").append(hole(2, 2, done)).bytes()), FaultCode::none);
    expect_done(&buffer);
    EXPECT_EQ(text(), std::string_view("ab\0\0", 4));
    core.done.clear();
    read(4);
    ASSERT_EQ(core.receive(data(0, "abcd", done).bytes()), FaultCode::none);
    expect_done(&buffer);
}

TEST_P(Chunks, RepliesOfSeveralRequestsMayMix) {
    read(4, 0);
    const auto first = request;
    auto first_buffer = std::move(buffer);
    Bytes second_buffer(4, 0xee);
    ASSERT_TRUE(core.table.admit(test::read_into(second_buffer, 50)));
    send();
    const auto second = request;
    Wire reply = data(52, "cd");
    request = first;
    reply.append(data(2, "34"));
    request = second;
    reply.append(data(50, "ab", done));
    request = first;
    reply.append(data(0, "12")).append(end());
    ASSERT_EQ(core.receive(reply.bytes()), FaultCode::none);
    ASSERT_EQ(core.done.size(), 2U);
    EXPECT_EQ(core.done[0], (Core::Done{&second_buffer, 0}));
    EXPECT_EQ(std::string(second_buffer.begin(), second_buffer.end()), "abcd");
    EXPECT_EQ(std::string(first_buffer.begin(), first_buffer.end()), "1234");
}

TEST_P(Chunks, LargeDataAreReceivedInPlace) {
    read(300'000);
    const auto header = GetParam() == WireFormat::extended ? 40U : 28U;
    const auto reply = data(1000, std::string(200'000, 'x'));
    ASSERT_EQ(core.receive(std::span(reply.bytes()).first(header + 500)), FaultCode::none);
    const auto plan = core.parser.plan();
    ASSERT_EQ(plan.count, 2U);
    EXPECT_EQ(plan.slices[0].data, buffer.data() + 1500);
    EXPECT_EQ(plan.slices[0].size, 199'500U);
    // Little beyond it: what follows is likely to be as large.
    EXPECT_LE(plan.slices[1].size, 4096U);
    ASSERT_EQ(core.receive(std::span(reply.bytes()).subspan(header + 500)), FaultCode::none);
    ASSERT_EQ(core.receive(hole(0, 1000).append(hole(201'000, 99'000, done)).bytes()),
              FaultCode::none);
    expect_done(&buffer);
    EXPECT_EQ(text().substr(0, 1000), std::string(1000, '\0'));
    EXPECT_EQ(text().substr(1000, 200'000), std::string(200'000, 'x'));
    EXPECT_EQ(text().substr(201'000), std::string(99'000, '\0'));
}

TEST_P(Chunks, PiecesOfACommandHaveTheirOwnOffsets) {
    core.table.begin(terms(4));
    read(8, 1000);
    EXPECT_EQ(request.length, 4U);
    ASSERT_EQ(core.receive(data(1000, "abcd", done).bytes()), FaultCode::none);
    EXPECT_TRUE(core.done.empty());
    send();
    EXPECT_EQ(request.offset, 1004U);
    EXPECT_EQ(fault_of(data(1000, "abcd", done)), FaultCode::chunk_out_of_range);
    EXPECT_EQ(text().substr(0, 4), "abcd");
}

TEST_P(Chunks, ReadsThatAreNotCoveredNeverSucceed) {
    const std::vector<std::pair<std::uint64_t, std::function<Wire()>>> replies{
        {0, [&] { return end(); }},
        {7, [&] { return data(0, "abc").append(data(4, "efgh")).append(end()); }},
        {7, [&] { return hole(1, 7, done); }},
    };
    for (const auto& [came, reply] : replies) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        read(8);
        EXPECT_EQ(fault_of(reply()), FaultCode::reply_incomplete);
        EXPECT_EQ(core.parser.received(0).got, came);
        EXPECT_EQ(core.parser.received(0).expected, 8U);
    }
}

TEST_P(Chunks, ContentOutsideTheRequestTouchesNothing) {
    const std::vector<std::function<Wire()>> replies{
        [&] { return data(99, "x"); },         [&] { return data(108, "x"); },
        [&] { return data(104, "xxxxx"); },    [&] { return data(UINT64_MAX, "x"); },
        [&] { return hole(99, 1); },           [&] { return hole(104, 5); },
        [&] { return hole(100, 0xffffffff); }, [&] { return hole(UINT64_MAX - 3, 8); },
    };
    for (const auto& reply : replies) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        read(8, 100);
        EXPECT_EQ(fault_of(reply()), FaultCode::chunk_out_of_range);
        EXPECT_EQ(buffer, Bytes(8, 0xee));
    }
}

TEST_P(Chunks, BytesThatCameBeforeAreRefused) {
    const std::vector<std::function<Wire()>> replies{
        [&] { return data(0, "abc").append(data(2, "x")); },
        [&] { return data(4, "abc").append(hole(3, 2)); },
        [&] { return hole(0, 8).append(hole(0, 8)); },
        [&] { return data(2, "a").append(data(6, "b")).append(data(0, "abcdefgh")); },
    };
    for (const auto& reply : replies) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        read(8);
        EXPECT_EQ(fault_of(reply()), FaultCode::chunk_overlaps);
    }
}

TEST_P(Chunks, GapsAreLimited) {
    read(std::uint64_t{4} * CoverageBook::runs_max);
    Wire reply;
    for (std::uint64_t i = 0; i < CoverageBook::runs_max; ++i)
        reply.append(data(2 * i + 1, "x"));
    ASSERT_EQ(core.receive(reply.bytes()), FaultCode::none);
    EXPECT_EQ(fault_of(data(std::uint64_t{4} * CoverageBook::runs_max - 1, "x")),
              FaultCode::too_many_chunks);
}

TEST_P(Chunks, LengthsThatATypeCannotHaveAreNamed) {
    const auto payload_of = [&](ReplyType type, const Wire& payload) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        type == ReplyType::block_status ? ask_status(4096) : read(8);
        return fault_of(chunk(type, 0, payload));
    };
    const auto malformed = FaultCode::malformed_chunk;
    EXPECT_EQ(payload_of(ReplyType::offset_data, Wire()), malformed);
    EXPECT_EQ(payload_of(ReplyType::offset_data, Wire().put<std::uint64_t>(0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::offset_hole, Wire().fill(11, 0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::offset_hole, Wire().fill(13, 0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::offset_hole, Wire().fill(12, 0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::none, Wire().fill(1, 0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::error, Wire().fill(5, 0)), malformed);
    EXPECT_EQ(payload_of(ReplyType::error, Wire().put(5U).put<std::uint16_t>(3).text("no")),
              malformed);
    EXPECT_EQ(payload_of(ReplyType::error, Wire().put(5U).put<std::uint16_t>(1).text("no")),
              malformed);
    EXPECT_EQ(payload_of(ReplyType::error_offset, Wire().put(5U).put<std::uint16_t>(0).fill(7, 0)),
              malformed);
    EXPECT_EQ(payload_of(ReplyType::block_status, Wire().put(context)), malformed);
    EXPECT_EQ(payload_of(ReplyType::block_status, Wire().put(context).fill(9, 1)), malformed);
    EXPECT_EQ(payload_of(ReplyType::block_status, Wire().put(context).fill(8, 0)), malformed);
}

TEST_P(Chunks, EndlessLengthsAreRefusedBeforeTheirBytesCome) {
    const auto fault_with = [&](ReplyType type, std::uint64_t length, const Wire& first) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        type == ReplyType::block_status ? ask_status(4096) : read(8);
        return fault_of(
            test::chunk_header(GetParam(), type, 0, request.handle, 0, length).append(first));
    };
    const auto offset = Wire().put<std::uint64_t>(0);
    EXPECT_EQ(fault_with(ReplyType::offset_data, 0xffffffff, offset),
              FaultCode::chunk_out_of_range);
    EXPECT_EQ(fault_with(ReplyType::error, 0xffffffff, {}), FaultCode::malformed_chunk);
    EXPECT_EQ(fault_with(ReplyType::block_status, 0xfffffffc, {}), FaultCode::malformed_chunk);
    if (GetParam() != WireFormat::extended) return;
    const std::uint64_t beyond = (std::uint64_t{1} << 32) + 16;
    EXPECT_EQ(fault_with(ReplyType::offset_data, beyond, offset), FaultCode::chunk_out_of_range);
    EXPECT_EQ(fault_with(ReplyType::offset_data, UINT64_MAX, offset),
              FaultCode::chunk_out_of_range);
    EXPECT_EQ(fault_with(ReplyType::offset_hole, beyond, {}), FaultCode::malformed_chunk);
    EXPECT_EQ(fault_with(ReplyType::none, beyond, {}), FaultCode::malformed_chunk);
}

TEST_P(Chunks, ErrorsKeepTheirMeaning) {
    read(8);
    ASSERT_EQ(core.receive(error(error_no_space, "the disk is full", done).bytes(), 1),
              FaultCode::none);
    expect_done(&buffer, error_no_space);
    core.done.clear();
    read(8);
    ASSERT_EQ(
        core.receive(
            chunk(ReplyType::error_offset, done,
                  Wire().put(error_io).put<std::uint16_t>(3).text("bad").put<std::uint64_t>(4))
                .bytes()),
        FaultCode::none);
    expect_done(&buffer, error_io);
    EXPECT_TRUE(core.parser.at_boundary());
}

TEST_P(Chunks, AnErrorAmongTheContentFailsTheRead) {
    read(8);
    // The first error tells the cause; what comes later is taken, and helps nothing.
    ASSERT_EQ(core.receive(data(0, "ab")
                               .append(error(error_io, "sector"))
                               .append(error(error_no_memory, ""))
                               .append(data(2, "cdefgh"))
                               .bytes()),
              FaultCode::none);
    EXPECT_TRUE(core.done.empty());
    ASSERT_EQ(core.receive(end().bytes()), FaultCode::none);
    expect_done(&buffer, error_io);
}

TEST_P(Chunks, UnknownErrorsAreErrorsAndUnknownContentIsTheEnd) {
    read(8);
    ASSERT_EQ(
        core.receive(chunk(static_cast<ReplyType>(0x9000), done,
                           Wire().put(error_permission).put<std::uint16_t>(2).text("no, really"))
                         .bytes()),
        FaultCode::none);
    expect_done(&buffer, error_permission);
    core.done.clear();
    // An error that says none is still no success.
    read(8);
    ASSERT_EQ(core.receive(error(0, "", done).bytes()), FaultCode::none);
    expect_done(&buffer, error_invalid);
    core.done.clear();
    read(8);
    EXPECT_EQ(fault_of(chunk(static_cast<ReplyType>(3), 0)), FaultCode::unknown_chunk);
}

TEST_P(Chunks, ContentForARequestOfAnotherKindIsTheEnd) {
    Bytes payload(8);
    const auto fault_with = [&](CommandType type, const std::function<Wire()>& reply) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        EXPECT_TRUE(core.table.admit({.type = type, .length = 8, .data = payload.data()}));
        send();
        return fault_of(reply());
    };
    const auto status_of = [&] { return status({{8, 0}}); };
    EXPECT_EQ(fault_with(CommandType::write, [&] { return data(0, "ab"); }),
              FaultCode::misplaced_chunk);
    EXPECT_EQ(fault_with(CommandType::trim, [&] { return hole(0, 8, done); }),
              FaultCode::misplaced_chunk);
    EXPECT_EQ(fault_with(CommandType::block_status, [&] { return data(0, "ab", done); }),
              FaultCode::misplaced_chunk);
    EXPECT_EQ(fault_with(CommandType::read, status_of), FaultCode::misplaced_chunk);
    EXPECT_EQ(fault_with(CommandType::flush, status_of), FaultCode::misplaced_chunk);
    // Nothing that does not even end: it could go on for ever.
    EXPECT_EQ(fault_with(CommandType::read, [&] { return chunk(ReplyType::none, 0); }),
              FaultCode::misplaced_chunk);
}

TEST_P(Chunks, NothingFollowsTheEndOfAReply) {
    read(4);
    ASSERT_EQ(core.receive(data(0, "abcd", done).bytes()), FaultCode::none);
    for (const auto& late : {end(), data(0, "wxyz", done), error(error_io, "", done)}) {
        EXPECT_EQ(core.receive(late.bytes()), FaultCode::not_in_flight);
        core.parser.begin();
    }
    expect_done(&buffer);
    EXPECT_EQ(text(), "abcd");
}

TEST_P(Chunks, WritesAndTheirKinEndWithNothingInThem) {
    Bytes payload(8);
    for (const auto type : {CommandType::write, CommandType::flush, CommandType::trim,
                            CommandType::write_zeroes, CommandType::cache}) {
        ASSERT_TRUE(core.table.admit(
            {.type = type, .offset = 16, .length = 8, .data = payload.data(), .cookie = &payload}));
        send();
        ASSERT_EQ(core.receive(end().bytes()), FaultCode::none);
        expect_done(&payload);
        core.done.clear();
    }
}

TEST_P(Chunks, RepliesOfAKindThatWasNotAgreedOnAreTheEnd) {
    const auto fault_with = [&](const std::function<Wire()>& reply) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        read(4);
        return fault_of(reply());
    };
    EXPECT_EQ(fault_with([&] { return test::simple_reply(request.handle).text("abcd"); }),
              FaultCode::wrong_reply_kind);
    const auto other =
        GetParam() == WireFormat::extended ? WireFormat::structured : WireFormat::extended;
    EXPECT_EQ(
        fault_with([&] { return test::chunk(other, ReplyType::none, done, request.handle, 0); }),
        FaultCode::wrong_reply_kind);
    EXPECT_EQ(fault_with([&] { return Wire().text("garbage"); }), FaultCode::bad_reply_magic);
    ASSERT_NO_FATAL_FAILURE(core.table.take_back([](const Command&) {}));
    core.parser.begin();
    ask_status(4);
    EXPECT_EQ(fault_of(test::simple_reply(request.handle)), FaultCode::wrong_reply_kind);
}

TEST(StructuredChunks, SimpleRepliesWithoutContentAreTaken) {
    Core core(8, {.format = WireFormat::structured, .allocation_context = context});
    Bytes buffer(4);
    ASSERT_TRUE(core.table.admit({.type = CommandType::flush, .cookie = &core}));
    ASSERT_TRUE(core.table.admit(test::read_into(buffer)));
    const auto wire = core.send();
    ASSERT_EQ(core.receive(test::simple_reply(test::decode(wire).handle)
                               .append(test::simple_reply(test::decode(wire, 28).handle, error_io))
                               .bytes()),
              FaultCode::none);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&core, 0}, {&buffer, error_io}}));
}

TEST(ExtendedChunks, TheOffsetMustBeTheRequests) {
    Core core(8, {.format = WireFormat::extended});
    Bytes buffer(4);
    ASSERT_TRUE(core.table.admit(test::read_into(buffer, 4096)));
    const auto request = test::decode(core.send(), 0, WireFormat::extended);
    EXPECT_EQ(
        core.receive(
            test::chunk(WireFormat::extended, ReplyType::none, done, request.handle, 4097).bytes()),
        FaultCode::wrong_offset_echo);
    EXPECT_EQ(core.parser.received(0).got, 4097U);
    EXPECT_EQ(core.parser.received(0).expected, 4096U);
}

}  // namespace
}  // namespace wnbd::nbd
