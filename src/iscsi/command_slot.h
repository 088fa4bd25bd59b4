// SPDX-License-Identifier: LGPL-2.1-or-later
// What a connection knows of one command, and of whatever else it has to send.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "iscsi/buffer_pool.h"
#include "iscsi/logical_unit.h"
#include "iscsi/pdu.h"
#include "iscsi/task.h"

namespace wnbd::iscsi {

/// Waits in the queue of what is to be sent.
struct Output {
    enum class Kind : std::uint8_t { command, control };
    explicit Output(Kind what) noexcept : kind(what) {}

    const Kind kind;
    bool queued = false;
    Output* next = nullptr;
};

/// Has ended on some thread, and is on its way to the connection's.
struct Completion {
    enum class Kind : std::uint8_t { command, drain };
    explicit Completion(Kind what) noexcept : kind(what) {}

    const Kind kind;
    Completion* next_completed = nullptr;
};

/// The life of a command: free -> gathering -> running -> answering -> free; one that is aborted
/// skips the rest.
enum class SlotState : std::uint8_t {
    free,
    gathering,  // waits for its turn (CmdSN) or for data-out
    running,    // the logical unit's
    answering,  // data-in and status are to be sent, or being sent
    over,       // aborted while it was queued: free when its place in the queue comes
};

struct CommandSlot final : Task, Output, Completion {
    CommandSlot() noexcept : Output(Output::Kind::command), Completion(Completion::Kind::command) {}

    SlotState state = SlotState::free;
    std::uint16_t index = 0;  // in its table
    CommandSlot* next_free = nullptr;
    std::uint32_t hash_position = 0;

    // What the initiator asked for.
    std::uint32_t task_tag = no_tag;
    std::uint32_t command_sn = 0;
    std::uint64_t lun = 0;
    std::uint32_t expected_length = 0;  // EDTL
    bool immediate = false;
    bool reads = false;
    bool writes = false;
    LogicalUnit* unit = nullptr;  // nullptr: there is none at `lun`

    Buffer buffer;
    std::uint64_t moves_out = 0;  // bytes of data-out that the CDB asks for, whatever was expected

    // Data-out. What is taken in goes to the front of the buffer, in order.
    bool whole = false;             // its own PDU has come to its end
    bool delivered = false;         // its turn has come
    bool unsolicited = false;       // data-out that nobody has to ask for is still coming
    std::uint32_t wanted = 0;       // bytes that are to come
    std::uint32_t received = 0;     // bytes that have come, also those that nobody wanted
    std::uint32_t asked_until = 0;  // by R2T
    std::uint32_t burst_end = 0;    // of the sequence that is coming now
    std::uint32_t data_sn = 0;      // the next PDU's in its sequence
    std::uint32_t r2t_sent = 0;     // R2TSN of the next one
    std::uint32_t r2t_done = 0;     // the one whose sequence is coming
    /// Decided before all data was there: the rest is dropped, and then this is the answer.
    std::optional<scsi::Answer> verdict;

    // Data-in and the response.
    std::uint32_t send_length = 0;
    std::uint32_t sent_until = 0;
    std::uint32_t data_in_sn = 0;
    Residual residual = Residual::none;
    std::uint32_t residual_count = 0;

    [[nodiscard]] bool asks_more() const noexcept {
        return !verdict && !unsolicited && asked_until < wanted;
    }
    [[nodiscard]] bool owed_data() const noexcept { return unsolicited || r2t_done < r2t_sent; }
};

using ControlPdu = std::variant<NopIn, TaskManagementResponse, TextResponse, LoginResponse,
                                LogoutResponse, Reject, AsyncMessage>;

/// std::visit, for a variant that always has a value: it does not throw.
template <typename Visit>
void with_pdu(ControlPdu& pdu, Visit visit) noexcept {
    [&]<std::size_t... index>(std::index_sequence<index...>) {
        (..., (pdu.index() == index ? visit(*std::get_if<index>(&pdu)) : void()));
    }(std::make_index_sequence<std::variant_size_v<ControlPdu>>());
}

/// Anything but a command's.
struct ControlOutput final : Output {
    ControlOutput() noexcept : Output(Output::Kind::control) {}

    ControlPdu pdu;
    HeaderBytes rejected{};  // the data of a Reject
    Buffer buffer;           // the data of others
    ControlOutput* next_free = nullptr;
};

}  // namespace wnbd::iscsi
