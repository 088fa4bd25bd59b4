// SPDX-License-Identifier: LGPL-2.1-or-later
// One request, and its reply in chunks. For tests.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <utility>
#include <vector>

#include "nbd/test_core.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd::test {

inline constexpr std::uint32_t context = 77;
inline constexpr std::uint16_t done = reply_flag_done;

/// Both forms of chunks have the same tests.
class ChunkTest : public ::testing::TestWithParam<WireFormat> {
  protected:
    static WireTerms terms(std::uint32_t payload_max = 1U << 20) {
        return {.format = GetParam(), .payload_max = payload_max, .allocation_context = context};
    }
    /// Sends the one command there is and remembers its request.
    void send() {
        const auto wire = core.send();
        request = decode(wire, 0, GetParam());
    }
    void read(std::uint64_t size, std::uint64_t offset = 0) {
        buffer.assign(size, 0xee);
        ASSERT_TRUE(core.table.admit(read_into(buffer, offset)));
        send();
    }
    void ask_status(std::uint64_t length, std::uint32_t capacity = 8, std::uint64_t offset = 0) {
        room.resize(capacity);
        list = {room.data(), capacity, 99};
        ASSERT_TRUE(core.table.admit({.type = CommandType::block_status,
                                      .offset = offset,
                                      .length = length,
                                      .cookie = &room,
                                      .extents = &list}));
        send();
    }
    [[nodiscard]] Wire chunk(ReplyType type, std::uint16_t flags, const Wire& payload = {}) const {
        return test::chunk(GetParam(), type, flags, request.handle, request.offset, payload);
    }
    [[nodiscard]] Wire data(std::uint64_t at, std::string_view text,
                            std::uint16_t flags = 0) const {
        return chunk(ReplyType::offset_data, flags, Wire().put(at).text(text));
    }
    [[nodiscard]] Wire hole(std::uint64_t at, std::uint32_t length, std::uint16_t flags = 0) const {
        return chunk(ReplyType::offset_hole, flags, Wire().put(at).put(length));
    }
    [[nodiscard]] Wire status(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& extents,
                              std::uint16_t flags = done, std::uint32_t id = context) const {
        Wire payload;
        payload.put(id);
        for (const auto& [length, value] : extents)
            payload.put(length).put(value);
        return chunk(ReplyType::block_status, flags, payload);
    }
    [[nodiscard]] Wire error(std::uint32_t number, std::string_view text,
                             std::uint16_t flags = 0) const {
        return chunk(ReplyType::error, flags,
                     Wire().put(number).put(static_cast<std::uint16_t>(text.size())).text(text));
    }
    [[nodiscard]] Wire end() const { return chunk(ReplyType::none, done); }
    /// The fault of these bytes; the request has not ended.
    FaultCode fault_of(const Wire& wire) {
        const auto code = core.receive(wire.bytes());
        EXPECT_TRUE(core.done.empty());
        EXPECT_FALSE(describe(core.parser.received(0)).empty());
        return code;
    }
    void expect_done(void* cookie, std::uint32_t error = 0) {
        EXPECT_EQ(core.done, (std::vector<Core::Done>{{cookie, error}}));
    }
    [[nodiscard]] std::string_view text() const {
        return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
    }

    Core core{8, terms()};
    SentRequest request{};
    Bytes buffer;
    std::vector<Extent> room;
    ExtentList list{};
};
}  // namespace wnbd::nbd::test
