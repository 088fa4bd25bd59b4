// SPDX-License-Identifier: LGPL-2.1-or-later
// NOP, logout and text of the full feature phase (RFC 7143, 11.10, 11.14, 11.18).
#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "iscsi/connection_work.h"
#include "iscsi/send_targets.h"

namespace wnbd::iscsi {
namespace {

constexpr std::uint32_t text_goes_on = 1;  // the target's tag of a text that has a sequel

}  // namespace

/// Data of a PDU that is queued. It is copied: where it lies is soon overwritten.
void Connection::attach(ControlOutput& control, std::span<const std::uint8_t> data) noexcept {
    if (data.empty()) return;
    control.buffer = target_.buffers().take(data.size());
    if (!control.buffer) {
        with_pdu(control.pdu, [](auto& pdu) {
            if constexpr (requires { pdu.data_length; }) pdu.data_length = 0;
        });
        return break_off("there is no memory for an answer");
    }
    std::memcpy(control.buffer.data(), data.data(), data.size());
}

void Connection::answer_nop(const NopOutHeader& header,
                            std::span<const std::uint8_t> data) noexcept {
    const std::uint32_t tag = header.sequence.task_tag;
    if (tag == no_tag) return;  // answers a NOP-In, or only tells ExpStatSN
    const std::size_t length = std::min<std::size_t>(data.size(), parameters_.max_send_segment);
    ControlOutput* const answer = queue_control(NopIn{
        .lun = header.lun, .task_tag = tag, .data_length = static_cast<std::uint32_t>(length)});
    if (answer == nullptr) return break_off("too much to send");
    attach(*answer, data.first(length));
}

void Connection::log_out(HeaderView header) noexcept {
    const LogoutHeader request = read_logout(header);
    const std::uint32_t tag = request.sequence.task_tag;
    const auto answer = [&](LogoutResult result) {
        if (queue_control(LogoutResponse{.task_tag = tag, .result = result}) == nullptr)
            break_off("too much to send");
    };
    switch (static_cast<LogoutReason>(request.reason)) {
        case LogoutReason::close_session: break;
        case LogoutReason::close_connection:
            if (request.connection_id == login_.connection_id()) break;
            return answer(LogoutResult::no_connection);
        case LogoutReason::recovery: return answer(LogoutResult::recovery_not_supported);
        default:
            return refuse(header, RejectReason::invalid_pdu_field, "a logout for no known reason");
    }
    end_gathering(nullptr, 0, true);
    phase_ = Phase::logging_out;
    reader_.hold();
    Ending* const ending = new_ending(tag);
    if (ending == nullptr) return break_off("logged out with too many tasks being ended");
    ending->purpose = Ending::Purpose::logout;
    ending->how = Ending::How::nexus;
    if (running_ == 0) return ended(*ending);
    begin_ending(*ending);
}

void Connection::receive_text(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    const TextHeader request = read_text(header);
    const bool goes_on = request.target_tag == text_goes_on;
    if (!goes_on && request.target_tag != no_tag)
        return refuse(header, RejectReason::invalid_pdu_field, "a text that goes on from nowhere");
    if (!goes_on) {
        text_input_.clear();
        text_rest_.clear();
    }
    if (goes_on && !text_rest_.empty() && data.empty()) return send_text(request);
    try {
        if (!text_input_.append(data))
            return refuse(header, RejectReason::protocol_error, "a text without an end");
        if (request.continues) return send_text(request);
        auto answer =
            answer_text(text_input_.text(), settings_, std::span(&portal_, 1), parameters_);
        text_input_.clear();
        if (!answer) return refuse(header, RejectReason::protocol_error, answer.error());
        text_rest_ = std::move(answer.value());
        send_text(request);
    } catch (const std::bad_alloc&) {
        break_off("there is no memory for an answer");
    }
}

/// As much of text_rest_ as the initiator takes at once; it asks for the rest.
void Connection::send_text(const TextHeader& request) noexcept {
    const std::size_t length =
        std::min<std::size_t>(text_rest_.size(), parameters_.max_send_segment);
    const bool more = length < text_rest_.size();
    const bool final = request.final && !request.continues && !more;
    ControlOutput* const answer =
        queue_control(TextResponse{.task_tag = request.sequence.task_tag,
                                   .target_tag = final ? no_tag : text_goes_on,
                                   .final = final,
                                   .continues = more,
                                   .data_length = static_cast<std::uint32_t>(length)});
    if (answer == nullptr) return break_off("too much to send");
    attach(*answer, {reinterpret_cast<const std::uint8_t*>(text_rest_.data()), length});
    text_rest_.erase(0, length);
}

}  // namespace wnbd::iscsi
