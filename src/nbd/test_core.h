// SPDX-License-Identifier: LGPL-2.1-or-later
// The core of transmission for tests, without a socket.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/big_endian.h"
#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"

namespace wnbd::nbd::test {

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

/// A request as it was sent.
struct SentRequest {
    std::uint16_t flags = 0;
    std::uint16_t type = 0;
    std::uint64_t handle = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};
inline SentRequest decode(std::span<const std::uint8_t> wire, std::size_t at = 0,
                          WireFormat format = WireFormat::simple) {
    const bool extended = format == WireFormat::extended;
    EXPECT_GE(wire.size(), at + header_size(format));
    const auto* const from = wire.data() + at;
    EXPECT_EQ(load_big_endian<std::uint32_t>(from),
              extended ? extended_request_magic : request_magic);
    return {load_big_endian<std::uint16_t>(from + 4), load_big_endian<std::uint16_t>(from + 6),
            load_big_endian<std::uint64_t>(from + 8), load_big_endian<std::uint64_t>(from + 16),
            extended ? load_big_endian<std::uint64_t>(from + 24)
                     : load_big_endian<std::uint32_t>(from + 24)};
}

inline Command read_into(Bytes& buffer, std::uint64_t offset = 0, void* cookie = nullptr) {
    return {.type = CommandType::read,
            .offset = offset,
            .length = buffer.size(),
            .data = buffer.data(),
            .cookie = cookie != nullptr ? cookie : &buffer};
}

}  // namespace wnbd::nbd::test
