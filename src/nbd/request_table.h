// SPDX-License-Identifier: LGPL-2.1-or-later
// The requests in flight of one connection: a fixed table, nothing allocated, nothing searched.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nbd/command.h"
#include "nbd/coverage.h"
#include "nbd/export_info.h"
#include "nbd/protocol.h"

namespace wnbd::nbd {

/// How requests and replies look on one connection.
struct WireTerms {
    WireFormat format = WireFormat::simple;
    /// Bytes that one read or write carries at most: a multiple of the minimum block.
    std::uint32_t payload_max = default_maximum_payload;
    std::optional<std::uint32_t> allocation_context{};

    /// Of a negotiation. No payload is larger than default_maximum_payload, whatever the server
    /// takes: more in one request would only hold others up.
    [[nodiscard]] static WireTerms of(const Agreement& agreement) noexcept;
};

/// A command on its way. Lines of its own: the reader ends one while a sender arms the next.
struct alignas(64) Slot {
    /// Who has seen the end of a write first. Its payload belongs to the sender until the last byte
    /// is handed over, and a reply may overtake the news of that: whoever comes second completes.
    enum class Payload : std::uint8_t { none, sending, sent, replied };

    Command command;                       // as it was admitted
    std::uint64_t done = 0;                // bytes of it that are acknowledged, in pieces
    std::uint64_t piece = 0;               // bytes of this wire request
    std::atomic<std::uint64_t> handle{0};  // on the wire; 0 when nothing is in flight
    std::uint64_t sequence = 0;            // of admission
    Coverage coverage;                     // of a read: the reader's while the request is in flight
    std::uint32_t error = 0;  // of a chunk, or of the reply while a sender has to complete it
    std::uint32_t generation = 0;
    std::uint32_t next = 0;  // in the free list or the send queue
    std::atomic<Payload> payload{Payload::none};
    std::uint32_t time = 0;  // the table's, when the wire request was queued
    bool admitted = false;
    bool status_came = false;  // of a block status: the reader's

    /// Of this wire request.
    [[nodiscard]] std::uint64_t offset() const noexcept { return command.offset + done; }
    [[nodiscard]] std::uint8_t* data() const noexcept {
        return command.data == nullptr ? nullptr : command.data + done;
    }
};

/// Two parties use it. *Owner* calls change the lists and are serialised by the caller (a lock).
/// find() belongs to the one reader and needs no lock: it sees a slot only between arm() and
/// retire().
class RequestTable {
  public:
    explicit RequestTable(std::uint32_t capacity, const WireTerms& terms = {});

    // Owner calls.
    /// Another connection begins. The table is empty, and neither reader nor sender are at work.
    void begin(const WireTerms& terms) noexcept { terms_ = terms; }
    /// Takes a command into the send queue; false when the table is full.
    [[nodiscard]] bool admit(const Command& command) noexcept;
    /// The next slot to put on the wire with a fresh handle, or nullptr.
    [[nodiscard]] Slot* arm_next() noexcept;
    [[nodiscard]] bool anything_to_send() const noexcept { return send_head_ != none; }
    /// Frees a slot.
    void retire(Slot& slot) noexcept;
    /// Moves on to the command's next piece and queues it; false when all of it is done. A block
    /// status has one piece: what it tells may end before its range.
    [[nodiscard]] bool continue_command(Slot& slot) noexcept;
    /// Stamps what is queued from now on, in the caller's unit.
    void set_time(std::uint32_t time) noexcept { time_ = time; }
    [[nodiscard]] std::uint32_t admitted() const noexcept { return admitted_; }
    /// Bytes that the admitted commands read and write.
    [[nodiscard]] std::uint64_t payload() const noexcept { return payload_; }
    [[nodiscard]] std::span<Slot> slots() noexcept { return slots_; }

    /// Empties the table after a loss: `back(const Command&)` gets each command as it was admitted,
    /// in the order of admission. It must not admit. Neither reader nor sender are at work.
    template <typename Back>
    void take_back(Back&& back) noexcept {
        for (const auto index : in_order_of_admission()) {
            const Command command = slots_[index].command;
            retire(slots_[index]);
            back(command);
        }
    }

    [[nodiscard]] const WireTerms& terms() const noexcept { return terms_; }

    // The reader's call.
    struct Found {
        Slot* slot = nullptr;
        bool was_used = false;  // without a slot: the handle was on the wire once
    };
    [[nodiscard]] Found find(std::uint64_t handle) noexcept;

  private:
    static constexpr std::uint32_t none = 0xffffffff;

    void enqueue(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint32_t index_of(const Slot& slot) const noexcept;
    [[nodiscard]] std::uint64_t piece_max(CommandType type) const noexcept;
    [[nodiscard]] std::span<const std::uint32_t> in_order_of_admission() noexcept;

    std::vector<Slot> slots_;
    std::vector<std::uint32_t> order_;  // room for take_back()
    WireTerms terms_;
    std::uint64_t admissions_ = 0;
    std::uint32_t free_head_ = none;
    std::uint32_t send_head_ = none;
    std::uint32_t send_tail_ = none;
    std::uint32_t admitted_ = 0;
    std::uint64_t payload_ = 0;
    std::uint32_t time_ = 0;
};

/// A request as the wire has it.
struct WireRequest {
    CommandType type = CommandType::read;
    std::uint16_t flags = 0;
    std::uint64_t handle = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

[[nodiscard]] constexpr std::size_t header_size(WireFormat format) noexcept {
    return format == WireFormat::extended ? extended_request_size : request_size;
}

/// Puts a request's header where there is room for any, and returns its size: header_size(format).
/// A flush and a disconnect carry no range; a write with extended headers says that it has a
/// payload. Without extended headers the length is below 4 GiB.
std::size_t encode_request(std::span<std::uint8_t, extended_request_size> to, WireFormat format,
                           const WireRequest& request) noexcept;

}  // namespace wnbd::nbd
