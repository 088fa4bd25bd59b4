// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's replies, from large receives into the requests' own buffers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "nbd/coverage.h"
#include "nbd/fault.h"
#include "nbd/io_slice.h"
#include "nbd/request_table.h"

namespace wnbd::nbd {

/// Who hears of replies. All of a read's bytes are in its buffer by then, unless there is an error.
class ReplySink {
  public:
    virtual void replied(Slot& slot, std::uint32_t error) noexcept = 0;

  protected:
    ~ReplySink() = default;
};

/// Takes simple replies, or the chunks of structured or extended ones, as the table's terms say.
/// A request's chunks may come in any order and among those of others. A read ends well only when
/// each of its bytes has come, exactly once. Belongs to the one reader; not thread-safe.
class ReplyParser {
  public:
    ReplyParser(RequestTable& table, ReplySink& sink);

    /// Forgets what was received: another connection begins.
    void begin() noexcept;

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

    /// In the middle of a large payload, which goes straight into its request's buffer.
    [[nodiscard]] bool in_payload() const noexcept { return payload_left_ != 0; }
    /// True between two replies or chunks: a hang-up here loses no half one.
    [[nodiscard]] bool at_boundary() const noexcept {
        return payload_left_ == 0 && body_ == Body::none && buffered_ == 0;
    }

  private:
    static constexpr std::size_t buffer_size = 256U << 10;
    // From this payload on, the receive buffer would only add a copy: then we receive little at a
    // boundary, and the rest goes into the request's buffer directly.
    static constexpr std::size_t large_payload = 32U << 10;
    static constexpr std::size_t small_window = 4U << 10;

    /// What the bytes in the buffer are, when not a header: the rest of a chunk.
    enum class Body : std::uint8_t { none, skipped, block_status };

    /// The header of a structured or an extended reply chunk.
    struct Chunk {
        std::size_t header = 0;  // bytes
        bool done = false;
        std::uint16_t type = 0;
        std::uint64_t handle = 0;
        std::uint64_t offset = 0;  // extended only
        std::uint64_t length = 0;  // bytes of payload
    };

    // Each returns false when there is too little, or a fault.
    bool parse();
    bool parse_header();
    bool parse_simple();
    bool parse_chunk(WireFormat format);
    bool parse_content(Slot& slot, const Chunk& chunk);
    bool parse_data(Slot& slot, const Chunk& chunk);
    bool parse_hole(Slot& slot, const Chunk& chunk);
    bool parse_status(Slot& slot, const Chunk& chunk);
    bool parse_error(Slot& slot, const Chunk& chunk);
    bool take_descriptors();
    bool skip();

    [[nodiscard]] Slot* slot_of(std::uint64_t handle);
    [[nodiscard]] bool cover(Slot& slot, std::uint64_t offset, std::uint64_t length);
    void begin_payload(Slot& slot, std::uint64_t at, std::uint64_t length, bool done);
    void take_payload();
    void end_chunk(Slot& slot, bool done);
    void end_reply(Slot& slot);
    void add_extent(Slot& slot, std::uint64_t length, std::uint32_t flags);
    void choose_window(const Slot& slot) noexcept;

    [[nodiscard]] const std::uint8_t* input() const noexcept { return buffer_.data() + begin_; }
    void consume(std::size_t count) noexcept {
        begin_ += count;
        buffered_ -= count;
    }
    bool fail(FaultCode code, std::uint64_t got, std::uint64_t expected = 0);

    RequestTable& table_;
    ReplySink& sink_;
    std::vector<std::uint8_t> buffer_;
    std::size_t begin_ = 0;     // of what is not yet parsed, within buffer_
    std::size_t buffered_ = 0;  // bytes not yet parsed
    std::size_t window_ = buffer_size;

    // Of the chunk that is being received.
    Slot* slot_ = nullptr;
    bool done_ = false;  // it is its reply's last
    Body body_ = Body::none;
    std::size_t descriptor_size_ = 0;  // bytes
    std::uint64_t body_left_ = 0;      // bytes
    std::uint64_t described_ = 0;      // bytes of the disk, by block status
    bool list_full_ = false;           // the caller's room for them
    std::uint8_t* payload_ = nullptr;  // where its next bytes go
    std::size_t payload_left_ = 0;     // bytes

    CoverageBook book_;
    Fault fault_;
};

}  // namespace wnbd::nbd
