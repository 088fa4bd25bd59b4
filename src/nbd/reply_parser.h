// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's replies, from large receives into the requests' own buffers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "nbd/fault.h"
#include "nbd/io_slice.h"
#include "nbd/request_table.h"

namespace wnbd::nbd {

/// Who hears of replies. The payload of a read is in its buffer by then.
class ReplySink {
  public:
    virtual void replied(Slot& slot, std::uint32_t error) noexcept = 0;

  protected:
    ~ReplySink() = default;
};

/// Belongs to the one reader; not thread-safe.
class ReplyParser {
  public:
    ReplyParser(RequestTable& table, ReplySink& sink);

    /// Where the next bytes must go: first what is missing of a read's payload, straight into its
    /// buffer, then the receive buffer. Valid until the next received().
    struct Plan {
        std::array<IoSlice, 2> slices;
        std::size_t count;
    };
    [[nodiscard]] Plan plan() noexcept;

    /// `count` bytes were put where plan() said. Calls the sink for each whole reply.
    /// A fault ends the connection: later calls return it again.
    const Fault& received(std::size_t count);

    /// True between two replies: a hang-up here loses no half reply.
    [[nodiscard]] bool at_boundary() const noexcept {
        return payload_slot_ == nullptr && buffered_ == 0;
    }

  private:
    static constexpr std::size_t buffer_size = 256U << 10;
    // From this payload on, the receive buffer would only add a copy: then we receive little at a
    // boundary, and the rest goes into the request's buffer directly.
    static constexpr std::size_t large_payload = 32U << 10;
    static constexpr std::size_t small_window = 4U << 10;

    /// Parses one reply header; false when there is too little or a fault.
    bool parse_header();
    void take_payload();
    void finish_payload();
    void simple_reply(std::uint32_t error, std::uint64_t handle);
    void fail(FaultCode code, std::uint64_t got, std::uint64_t expected = 0);

    RequestTable& table_;
    ReplySink& sink_;
    std::vector<std::uint8_t> buffer_;
    std::size_t begin_ = 0;     // of what is not yet parsed, within buffer_
    std::size_t buffered_ = 0;  // bytes not yet parsed
    std::size_t window_ = buffer_size;
    Slot* payload_slot_ = nullptr;  // whose payload is being received
    std::size_t payload_done_ = 0;  // bytes of it
    Fault fault_;
};

}  // namespace wnbd::nbd
