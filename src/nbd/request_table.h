// SPDX-License-Identifier: LGPL-2.1-or-later
// The requests in flight of one connection: a fixed table, nothing allocated, nothing searched.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "nbd/command.h"
#include "nbd/protocol.h"

namespace wnbd::nbd {

/// A command on its way. `command` holds what is not yet acknowledged.
struct Slot {
    /// Who has seen the end of a write first. Its payload belongs to the sender until the last byte
    /// is handed over, and a reply may overtake the news of that: whoever comes second completes.
    enum class Payload : std::uint8_t { none, sending, sent, replied };

    Command command;
    std::uint32_t piece = 0;  // bytes of this wire request
    std::uint32_t error = 0;  // of the reply, while a write's sender still has to complete it
    std::atomic<std::uint64_t> handle{0};  // on the wire; 0 when nothing is in flight
    std::atomic<Payload> payload{Payload::none};
    std::uint32_t generation = 0;
    std::uint32_t next = 0;  // in the free list or the send queue
    bool admitted = false;
};

/// Two parties use it. *Owner* calls change the lists and are serialised by the caller (a lock).
/// find() belongs to the one reader and needs no lock: it sees a slot only between arm() and
/// retire().
class RequestTable {
  public:
    /// `pieces_max`: bytes a read or write request may carry, a multiple of the minimum block.
    RequestTable(std::uint32_t capacity, std::uint32_t payload_max);

    // Owner calls.
    /// Takes a command into the send queue; false when the table is full.
    [[nodiscard]] bool admit(const Command& command) noexcept;
    /// The next slot to put on the wire with a fresh handle, or nullptr.
    [[nodiscard]] Slot* arm_next() noexcept;
    [[nodiscard]] bool anything_to_send() const noexcept { return send_head_ != none; }
    /// Frees a slot.
    void retire(Slot& slot) noexcept;
    /// Moves on to the command's next piece and queues it; false when all of it is done.
    [[nodiscard]] bool continue_command(Slot& slot) noexcept;
    [[nodiscard]] std::uint32_t admitted() const noexcept { return admitted_; }
    [[nodiscard]] std::span<Slot> slots() noexcept { return slots_; }

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

    std::vector<Slot> slots_;
    std::uint32_t payload_max_;
    std::uint32_t free_head_ = none;
    std::uint32_t send_head_ = none;
    std::uint32_t send_tail_ = none;
    std::uint32_t admitted_ = 0;
};

/// Puts a request header on the wire: 28 bytes. A flush and a disconnect carry no range.
void encode_request(std::span<std::uint8_t, request_size> to, const Command& command,
                    std::uint64_t handle, std::uint32_t length) noexcept;

}  // namespace wnbd::nbd
