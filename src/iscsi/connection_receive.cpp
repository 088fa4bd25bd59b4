// SPDX-License-Identifier: LGPL-2.1-or-later
// PDUs of the full feature phase, and the order in which they take effect (RFC 7143, 4.2.2.1).
#include <algorithm>
#include <cstring>
#include <utility>

#include "iscsi/connection_work.h"

namespace wnbd::iscsi {
namespace {

/// Requests that are numbered by CmdSN, besides SCSI commands.
bool is_request(std::uint8_t opcode) noexcept {
    switch (static_cast<Opcode>(opcode)) {
        case Opcode::nop_out:
        case Opcode::task_management_request:
        case Opcode::text_request:
        case Opcode::logout_request: return true;
        default: return false;
    }
}

}  // namespace

PduSink::Placement Connection::begin(HeaderView header,
                                     std::span<const std::uint8_t> additional) noexcept {
    constexpr Placement dropped{.placed = true};
    current_ = Current::other;
    current_slot_ = nullptr;
    if (phase_ == Phase::login) {
        if (data_length(header) <= default_segment_length) return {};
        break_off("a login request's data was longer than 8192 bytes");
        return dropped;
    }
    if (parameters_.discovery) return {};
    switch (static_cast<Opcode>(opcode_of(header))) {
        case Opcode::scsi_command: return begin_command(header, additional);
        case Opcode::data_out: return begin_data_out(header);
        default: return {};
    }
}

void Connection::finish(HeaderView header, std::span<const std::uint8_t> data,
                        bool intact) noexcept {
    if (phase_ == Phase::login) {
        receive_login(header, data);
    } else if (phase_ == Phase::full_feature) {
        switch (current_) {
            case Current::other:
                if (!intact)
                    refuse(header, RejectReason::data_digest_error, "a data digest was wrong");
                else
                    receive_request(header, data);
                break;
            case Current::command: finish_command(header, intact); break;
            case Current::data_out: finish_data_out(header, intact); break;
            case Current::refused:
                if (!is_immediate(header)) take_turn(read_nop_out(header).sequence.command_sn);
                break;
            case Current::ignored: break;
        }
    }
    if (!takes_pdus()) reader_.hold();
}

Connection::Turn Connection::turn_of(std::uint32_t command_sn) const noexcept {
    if (before(command_sn, expected_command_sn_) || before(max_command_sn_, command_sn))
        return Turn::never;
    return command_sn == expected_command_sn_ ? Turn::now : Turn::early;
}

void Connection::receive_request(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    const std::uint8_t opcode = opcode_of(header);
    if (!is_request(opcode)) {
        if (static_cast<Opcode>(opcode) == Opcode::snack_request)
            return refuse(header, RejectReason::snack, "SNACK at error recovery level 0");
        if (static_cast<Opcode>(opcode) == Opcode::scsi_command && parameters_.discovery) {
            refuse(header, RejectReason::protocol_error, "a SCSI command in a discovery session");
            if (!is_immediate(header)) take_turn(read_scsi_command(header).sequence.command_sn);
            return;
        }
        const bool known = static_cast<Opcode>(opcode) == Opcode::data_out ||
                           static_cast<Opcode>(opcode) == Opcode::login_request;
        return refuse(header,
                      known ? RejectReason::protocol_error : RejectReason::command_not_supported,
                      "a PDU that has no place here");
    }
    if (is_immediate(header)) return run_request(header, data);
    // All of them have the number in the same place.
    const std::uint32_t command_sn = read_nop_out(header).sequence.command_sn;
    switch (turn_of(command_sn)) {
        case Turn::never: return;
        case Turn::early: return keep_for_later(header, data);
        case Turn::now: break;
    }
    ++expected_command_sn_;
    ++max_command_sn_;
    run_request(header, data);
    run_early();
}

void Connection::keep_for_later(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    Early& place = early(read_nop_out(header).sequence.command_sn);
    if (place.kind != Early::Kind::none) return;  // once more the same
    if (!data.empty()) {
        place.data = target_.buffers().take(data.size());
        // Nobody sends it again, and all that is numbered after it would wait for it.
        if (!place.data) return break_off("there is no memory for a request before its turn");
        std::memcpy(place.data.data(), data.data(), data.size());
    }
    std::copy(header.begin(), header.end(), place.header.begin());
    place.length = static_cast<std::uint32_t>(data.size());
    place.kind = Early::Kind::other;
    ++early_count_;
}

/// A numbered PDU that does nothing, or nothing any more.
void Connection::take_turn(std::uint32_t command_sn) noexcept {
    switch (turn_of(command_sn)) {
        case Turn::never: return;
        case Turn::early: {
            Early& place = early(command_sn);
            if (place.kind != Early::Kind::none) return;
            place.kind = Early::Kind::nothing;
            ++early_count_;
            return;
        }
        case Turn::now: break;
    }
    ++expected_command_sn_;
    ++max_command_sn_;
    run_early();
}

/// Whose turn has come because the gap before them is closed.
void Connection::run_early() noexcept {
    while (early_count_ > 0 && phase_ == Phase::full_feature) {
        Early& place = early(expected_command_sn_);
        if (place.kind == Early::Kind::none) return;
        const Early next = std::exchange(place, {});
        --early_count_;
        ++expected_command_sn_;
        if (next.kind == Early::Kind::command) {
            deliver(*next.slot);
            continue;
        }
        ++max_command_sn_;
        if (next.kind == Early::Kind::other)
            run_request(next.header, {next.data.data(), next.length});
    }
}

void Connection::run_request(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    serve_started();  // an abort or a logout is not to come before what was sent before it
    switch (static_cast<Opcode>(opcode_of(header))) {
        case Opcode::nop_out: return answer_nop(read_nop_out(header), data);
        case Opcode::task_management_request:
            if (parameters_.discovery)
                return refuse(header, RejectReason::protocol_error,
                              "task management in a discovery session");
            return manage_tasks(read_task_management(header));
        case Opcode::text_request: return receive_text(header, data);
        default: return log_out(header);
    }
}

void Connection::refuse(HeaderView header, RejectReason reason, std::string_view why) noexcept {
    log(Log::Level::warning, why);
    ControlOutput* const control = queue_control(Reject{.reason = reason});
    if (control == nullptr) return break_off("too much to send");
    std::copy(header.begin(), header.end(), control->rejected.begin());
}

}  // namespace wnbd::iscsi
