// SPDX-License-Identifier: LGPL-2.1-or-later
// What one reply, or one connection, leaves behind is nothing to the next.
#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "nbd/test_core.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd {
namespace {

using test::Bytes;
using test::Core;
using test::Wire;

constexpr auto structured = WireFormat::structured;
constexpr std::uint32_t context = 5;
constexpr std::uint16_t done = reply_flag_done;

class Leftovers : public ::testing::Test {
  protected:
    void SetUp() override { begin(); }
    /// A connection begins, whatever the one before it has left.
    void begin() {
        core.table.take_back([](const Command&) {});
        core.table.begin({.format = structured, .allocation_context = context});
        core.parser.begin();
        core.batch.abandon();
        core.done.clear();
    }
    void admit(const Command& command) {
        ASSERT_TRUE(core.table.admit(command));
        request = test::decode(core.send());
    }
    void read(std::size_t size) {
        buffer.assign(size, 0xee);
        admit(test::read_into(buffer));
    }
    void ask_status(std::uint32_t capacity) {
        room.assign(capacity, {});
        list = {room.data(), capacity, 0};
        admit({.type = CommandType::block_status, .length = 4096, .extents = &list});
    }
    [[nodiscard]] Wire chunk(ReplyType type, std::uint16_t flags, const Wire& payload) const {
        return test::chunk(structured, type, flags, request.handle, request.offset, payload);
    }
    [[nodiscard]] Wire error(std::uint32_t number, std::string_view text,
                             std::uint16_t flags) const {
        return chunk(ReplyType::error, flags,
                     Wire().put(number).put(static_cast<std::uint16_t>(text.size())).text(text));
    }
    [[nodiscard]] Wire status(std::initializer_list<std::pair<std::uint32_t, std::uint32_t>> runs) {
        Wire payload;
        payload.put(context);
        for (const auto& [length, flags] : runs)
            payload.put(length).put(flags);
        return chunk(ReplyType::block_status, done, payload);
    }
    /// As many gaps as there is room for.
    [[nodiscard]] Wire gaps() const {
        Wire reply;
        for (std::uint64_t i = 0; i < CoverageBook::runs_max; ++i)
            reply.append(chunk(ReplyType::offset_data, 0, Wire().put(2 * i + 1).text("x")));
        return reply;
    }
    /// A reply comes through as if it were the first.
    void expect_all_is_well() {
        core.done.clear();
        read(4);
        ASSERT_EQ(core.receive(
                      chunk(ReplyType::offset_data, done, Wire().put<std::uint64_t>(0).text("abcd"))
                          .bytes()),
                  FaultCode::none);
        EXPECT_EQ(core.done, (std::vector<Core::Done>{{&buffer, 0}}));
        EXPECT_EQ(buffer, (Bytes{'a', 'b', 'c', 'd'}));
    }

    Core core;
    test::SentRequest request{};
    Bytes buffer;
    std::vector<Extent> room;
    ExtentList list{};
};

TEST_F(Leftovers, TheGapsOfALostConnectionTakeUpNoRoom) {
    constexpr std::size_t size = 2 * CoverageBook::runs_max + 2;
    for (int round = 0; round < 3; ++round) {
        read(size);
        ASSERT_EQ(core.receive(gaps().bytes()), FaultCode::none) << round;
        begin();
    }
}

TEST_F(Leftovers, TheGapsOfAReadThatFailedTakeUpNoRoom) {
    constexpr std::size_t size = 2 * CoverageBook::runs_max + 2;
    for (int round = 0; round < 3; ++round) {
        core.done.clear();
        read(size);
        ASSERT_EQ(core.receive(gaps().append(error(error_io, "", done)).bytes()), FaultCode::none)
            << round;
        EXPECT_EQ(core.done, (std::vector<Core::Done>{{&buffer, error_io}}));
    }
}

TEST_F(Leftovers, AConnectionThatEndsWithinAChunkLeavesTheNextOneNoneOfIt) {
    read(8);
    const auto failure = error(error_io, "some words", done).bytes();
    for (std::size_t length = 1; length < failure.size(); ++length) {
        begin();
        read(8);
        const auto reply = error(error_io, "some words", done);
        ASSERT_EQ(core.receive(std::span(reply.bytes()).first(length)), FaultCode::none);
        EXPECT_FALSE(core.parser.at_boundary()) << length;
        begin();
        EXPECT_TRUE(core.parser.at_boundary());
        expect_all_is_well();
    }
    ask_status(4);
    const auto half = status({{512, 0}, {512, 1}});
    ASSERT_EQ(core.receive(std::span(half.bytes()).first(half.bytes().size() - 8)),
              FaultCode::none);
    EXPECT_FALSE(core.parser.at_boundary());
    begin();
    expect_all_is_well();
}

TEST_F(Leftovers, AListThatWasTooShortDoesNotCutTheNextOne) {
    ask_status(1);
    ASSERT_EQ(core.receive(status({{512, 0}, {512, 1}, {512, 0}}).bytes()), FaultCode::none);
    EXPECT_EQ(list.count, 1U);
    ask_status(8);
    ASSERT_EQ(core.receive(status({{512, 0}, {512, 1}, {512, 0}}).bytes()), FaultCode::none);
    EXPECT_EQ(list.count, 3U);
}

TEST_F(Leftovers, AnErrorIsNotUndoneByASimpleReplyWithoutOne) {
    Bytes payload(8);
    admit({.type = CommandType::write, .length = 8, .data = payload.data(), .cookie = &payload});
    ASSERT_EQ(
        core.receive(
            error(error_no_space, "full", 0).append(test::simple_reply(request.handle)).bytes()),
        FaultCode::none);
    EXPECT_EQ(core.done, (std::vector<Core::Done>{{&payload, error_no_space}}));
}

// Four thousand million requests later.
TEST_F(Leftovers, HandlesGoOnWhenTheirCountersBeginAnew) {
    for (auto& slot : core.table.slots())
        slot.generation = 0xfffffffe;
    std::uint64_t before = 0;
    for (int i = 0; i < 4; ++i) {
        expect_all_is_well();
        EXPECT_NE(request.handle >> 32, 0U);
        EXPECT_NE(request.handle, before);
        before = request.handle;
    }
}

TEST(Terms, NoPayloadIsLargerThanOurs) {
    const auto payload_for = [](std::uint32_t maximum, std::uint32_t minimum) {
        return WireTerms::of({.info = {.minimum_block = minimum, .maximum_payload = maximum}})
            .payload_max;
    };
    EXPECT_EQ(payload_for(0xffffffff, 1), default_maximum_payload);
    EXPECT_EQ(payload_for(256U << 20, 65536), default_maximum_payload);
    EXPECT_EQ(payload_for(1U << 20, 512), 1U << 20);
}

}  // namespace
}  // namespace wnbd::nbd
