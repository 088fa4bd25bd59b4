// SPDX-License-Identifier: LGPL-2.1-or-later
// The answers to block status, and what a server may not say in them.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "nbd/test_chunks.h"

namespace wnbd::nbd {
namespace {

using test::context;
using test::done;
using test::Wire;

class BlockStatus : public test::ChunkTest {};
INSTANTIATE_TEST_SUITE_P(Formats, BlockStatus,
                         ::testing::Values(WireFormat::structured, WireFormat::extended));

TEST_P(BlockStatus, BlockStatusBecomesExtents) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, SIZE_MAX}) {
        ask_status(65536);
        EXPECT_EQ(request.type, 7);
        ASSERT_EQ(
            core.receive(status({{4096, 0}, {4096, 3}, {8192, 3}, {1 << 20, 1}}).bytes(), piece),
            FaultCode::none);
        expect_done(&room);
        core.done.clear();
        // Neighbours of one kind are one; the last one ends with the request.
        ASSERT_EQ(list.count, 3U);
        EXPECT_EQ(room[0].length, 4096U);
        EXPECT_EQ(room[0].flags, 0U);
        EXPECT_EQ(room[1].length, 12288U);
        EXPECT_EQ(room[1].flags, allocation_hole | allocation_zero);
        EXPECT_EQ(room[2].length, 65536U - 16384U);
        EXPECT_EQ(room[2].flags, allocation_hole);
    }
}

TEST_P(BlockStatus, ExtentsBeyondTheRoomAreLeftOutWithoutAGap) {
    ask_status(1000, 2);
    ASSERT_EQ(core.receive(status({{10, 0}, {10, 1}, {10, 0}, {10, 1}}).bytes()), FaultCode::none);
    ASSERT_EQ(list.count, 2U);
    EXPECT_EQ(room[0].length + room[1].length, 20U);
    ask_status(1000, 0);
    ASSERT_EQ(core.receive(status({{10, 0}}).bytes()), FaultCode::none);
    EXPECT_EQ(list.count, 0U);
    EXPECT_EQ(core.done.size(), 2U);
}

TEST_P(BlockStatus, BlockStatusMayEndBeforeItsRange) {
    ask_status(std::uint64_t{1} << 40);
    EXPECT_EQ(request.length,
              GetParam() == WireFormat::extended ? std::uint64_t{1} << 40 : max_wire_range);
    ASSERT_EQ(core.receive(status({{512, 1}}, 0).append(end()).bytes()), FaultCode::none);
    expect_done(&room);
    ASSERT_EQ(list.count, 1U);
    EXPECT_FALSE(core.table.anything_to_send());
}

TEST_P(BlockStatus, BrokenBlockStatusIsTheEnd) {
    const auto fault_with = [&](const std::function<Wire()>& reply) {
        core.table.take_back([](const Command&) {});
        core.parser.begin();
        ask_status(100);
        return fault_of(reply());
    };
    EXPECT_EQ(fault_with([&] { return status({{100, 0}}, done, context + 1); }),
              FaultCode::unasked_block_status);
    EXPECT_EQ(fault_with([&] { return status({{100, 0}, {1, 0}}); }),
              FaultCode::chunk_out_of_range);
    EXPECT_EQ(fault_with([&] { return status({{50, 0}}, 0).append(status({{50, 0}})); }),
              FaultCode::chunk_overlaps);
    EXPECT_EQ(fault_with([&] { return end(); }), FaultCode::reply_incomplete);
    core.table.take_back([](const Command&) {});
    core.parser.begin();
    core.table.begin({.format = GetParam()});
    ask_status(100);
    EXPECT_EQ(fault_of(status({{100, 0}})), FaultCode::unasked_block_status);
}

TEST_P(BlockStatus, WideBlockStatusNeedsExtendedHeaders) {
    const auto wide = [&](std::uint32_t count) {
        return chunk(ReplyType::block_status_ext, done,
                     Wire()
                         .put(context)
                         .put(count)
                         .put(std::uint64_t{5} << 32)
                         .put<std::uint64_t>(3)
                         .put(UINT64_MAX)
                         .put<std::uint64_t>(0));
    };
    ask_status(std::uint64_t{6} << 32);
    if (GetParam() != WireFormat::extended) {
        EXPECT_EQ(fault_of(wide(2)), FaultCode::unknown_chunk);
        return;
    }
    ASSERT_EQ(core.receive(wide(2).bytes(), 3), FaultCode::none);
    ASSERT_EQ(list.count, 2U);
    EXPECT_EQ(room[0].length, std::uint64_t{5} << 32);
    EXPECT_EQ(room[0].flags, 3U);
    EXPECT_EQ(room[1].length, std::uint64_t{1} << 32);
    core.done.clear();
    // The count may be left out, but not be wrong.
    ask_status(std::uint64_t{6} << 32);
    ASSERT_EQ(core.receive(wide(0).bytes()), FaultCode::none);
    core.done.clear();
    ask_status(std::uint64_t{6} << 32);
    EXPECT_EQ(fault_of(wide(3)), FaultCode::malformed_chunk);
}

}  // namespace
}  // namespace wnbd::nbd
