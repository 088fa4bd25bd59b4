// SPDX-License-Identifier: LGPL-2.1-or-later
// What a connection sends: R2T, data-in, responses. PDUs are made, and numbered, when the batch
// before them is out.
#include <algorithm>
#include <type_traits>

#include "iscsi/connection_work.h"

namespace wnbd::iscsi {
namespace {

void store_little_endian(std::uint8_t* to, std::uint32_t value) noexcept {
    for (unsigned i = 0; i < 4; ++i)
        to[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

/// SenseLength and sense data (RFC 7143, 11.4.7.1). Fixed format has no room for a large LBA.
std::size_t encode_sense(const scsi::Sense& sense, std::span<std::uint8_t> room) noexcept {
    const auto data = room.subspan(2);
    const bool large = sense.information_valid && sense.information > 0xFFFF'FFFF;
    const std::size_t length =
        large ? scsi::encode_descriptor_sense(sense, data) : scsi::encode_fixed_sense(sense, data);
    store_big_endian(room.data(), static_cast<std::uint16_t>(length));
    return 2 + length;
}

}  // namespace

std::span<const SendSlice> Connection::to_send() noexcept {
    if (phase_ >= Phase::broken) return {};
    while (batch_->empty() && first_output_ != nullptr) {
        while (first_output_ != nullptr && batch_->has_room()) {
            Output& output = *first_output_;
            // Taken out first: what it sends may be the last that is heard of it.
            first_output_ = output.next;
            if (first_output_ == nullptr) last_output_ = nullptr;
            output.queued = false;
            if (encode_output(output)) continue;
            output.queued = true;
            output.next = first_output_;
            first_output_ = &output;
            if (last_output_ == nullptr) last_output_ = &output;
            break;
        }
    }
    return batch_->slices();
}

void Connection::sent(std::size_t count) noexcept {
    const Work work(*this);
    closing_ms_ = 0;
    batch_->advance(count, [this](Output& output) { release(output); });
}

/// The residual tells how what was expected differs from what the command moved (RFC 7143, 11.4.5).
void Connection::answer(CommandSlot& slot, const scsi::Answer& answer) noexcept {
    slot.answer = answer;
    std::uint64_t moved = slot.moves_out;
    if (slot.reads) {
        moved = std::min(answer.transferred, slot.data.size());
        if (slot.moves_out != 0) moved = 0;
        slot.send_length =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(moved, slot.expected_length));
    } else if (moved == 0 && !slot.writes) {
        moved = std::min(answer.transferred, slot.data.size());
    }
    if (moved > slot.expected_length) {
        slot.residual = Residual::overflow;
        slot.residual_count = static_cast<std::uint32_t>(
            std::min<std::uint64_t>(moved - slot.expected_length, 0xFFFF'FFFF));
    } else if (moved < slot.expected_length) {
        slot.residual = Residual::underflow;
        slot.residual_count = static_cast<std::uint32_t>(slot.expected_length - moved);
    }
    slot.state = SlotState::answering;
    // The initiator may use the tag again as soon as it has the response.
    commands_.forget_tag(slot);
    queue(slot);
}

void Connection::queue(Output& output) noexcept {
    if (output.queued) return;
    output.queued = true;
    output.next = nullptr;
    (last_output_ != nullptr ? last_output_->next : first_output_) = &output;
    last_output_ = &output;
}

/// nullptr: there is too much to be sent already.
ControlOutput* Connection::queue_control(const ControlPdu& pdu) noexcept {
    ControlOutput* const control = free_controls_;
    if (control == nullptr) return nullptr;
    free_controls_ = control->next_free;
    --free_control_count_;
    control->pdu = pdu;
    queue(*control);
    return control;
}

void Connection::release(Output& output) noexcept {
    if (output.kind == Output::Kind::command)
        return commands_.give_back(static_cast<CommandSlot&>(output));
    auto& control = static_cast<ControlOutput&>(output);
    control.buffer.reset();
    if (&control == held_login_.get()) return;
    control.next_free = free_controls_;
    free_controls_ = &control;
    ++free_control_count_;
}

bool Connection::encode_output(Output& output) noexcept {
    if (output.kind == Output::Kind::control) {
        encode_control(static_cast<ControlOutput&>(output));
        return true;
    }
    auto& slot = static_cast<CommandSlot&>(output);
    switch (slot.state) {
        case SlotState::gathering: return encode_requests(slot);
        case SlotState::answering: return encode_answer(slot);
        case SlotState::over: commands_.give_back(slot); return true;
        default: return true;
    }
}

/// As many R2T as may be outstanding.
bool Connection::encode_requests(CommandSlot& slot) noexcept {
    while (slot.asks_more() && slot.r2t_sent - slot.r2t_done < parameters_.max_outstanding_r2t) {
        if (!batch_->has_room()) return false;
        const std::uint32_t length =
            std::min(parameters_.max_burst, slot.wanted - slot.asked_until);
        if (slot.r2t_sent == slot.r2t_done) slot.burst_end = slot.asked_until + length;
        add_pdu(encode(ReadyToTransfer{.numbers = numbers(false),
                                       .lun = slot.lun,
                                       .task_tag = slot.task_tag,
                                       .target_tag = target_tag(slot, slot.r2t_sent),
                                       .sequence = slot.r2t_sent,
                                       .offset = slot.asked_until,
                                       .length = length}),
                {}, nullptr);
        slot.asked_until += length;
        ++slot.r2t_sent;
    }
    return true;
}

bool Connection::encode_answer(CommandSlot& slot) noexcept {
    const bool rides = slot.answer.status == scsi::Status::good && slot.send_length > 0;
    while (slot.sent_until < slot.send_length) {
        if (!batch_->has_room()) return false;
        if (encode_data_in(slot)) return true;
    }
    if (rides) return true;
    if (!batch_->has_room()) return false;
    encode_response(slot);
    return true;
}

/// One PDU. True: the status went with it, and the slot goes when it is out.
bool Connection::encode_data_in(CommandSlot& slot) noexcept {
    const std::uint32_t burst_rest =
        parameters_.max_burst - slot.sent_until % parameters_.max_burst;
    const std::uint32_t length =
        std::min({parameters_.max_send_segment, burst_rest, slot.send_length - slot.sent_until});
    const bool last = slot.sent_until + length == slot.send_length;
    const bool rides = last && slot.answer.status == scsi::Status::good;
    DataIn data{.lun = slot.lun,
                .task_tag = slot.task_tag,
                .final = last || length == burst_rest,
                .has_status = rides,
                .data_sn = slot.data_in_sn++,
                .offset = slot.sent_until,
                .data_length = length};
    if (rides) {
        slot.immediate ? static_cast<void>(--immediate_count_)
                       : static_cast<void>(++max_command_sn_);
        data.residual = slot.residual;
        data.residual_count = slot.residual_count;
        data.status = static_cast<std::uint8_t>(slot.answer.status);
    }
    data.numbers = numbers(rides);
    if (!rides) data.numbers.status_sn = 0;  // reserved (RFC 7143, 11.7.2)
    const std::span<const std::uint8_t> bytes = slot.data.subspan(slot.sent_until, length);
    slot.sent_until += length;
    // A short end is copied, but what came before it may still be on its way out of the buffer.
    const bool lent = slot.data_in_sn > 1 && length <= SendBatch::copied_max;
    add_pdu(encode(data), bytes, rides && !lent ? &slot : nullptr);
    if (rides && lent) batch_->own_last(slot);
    return rides;
}

void Connection::encode_response(CommandSlot& slot) noexcept {
    slot.immediate ? static_cast<void>(--immediate_count_) : static_cast<void>(++max_command_sn_);
    std::array<std::uint8_t, 64> sense{};
    std::size_t sense_length = 0;
    if (slot.answer.status == scsi::Status::check_condition)
        sense_length = encode_sense(slot.answer.sense, sense);
    const ScsiResponse response{.numbers = numbers(true),
                                .task_tag = slot.task_tag,
                                .status = static_cast<std::uint8_t>(slot.answer.status),
                                .residual = slot.residual,
                                .residual_count = slot.residual_count,
                                .expected_data_sn = slot.data_in_sn + slot.r2t_sent,
                                .data_length = static_cast<std::uint32_t>(sense_length)};
    add_pdu(encode(response), std::span(sense).first(sense_length), nullptr);
    // Data-in before it may still be on its way out of the slot's buffer.
    if (slot.data_in_sn > 0)
        batch_->own_last(slot);
    else
        commands_.give_back(slot);
}

void Connection::encode_control(ControlOutput& control) noexcept {
    with_pdu(control.pdu, [&](auto& pdu) {
        using Pdu = std::remove_reference_t<decltype(pdu)>;
        bool counts = true;
        std::span<const std::uint8_t> data;
        if constexpr (std::is_same_v<Pdu, NopIn>) counts = pdu.task_tag != no_tag;
        if constexpr (std::is_same_v<Pdu, Reject>)
            data = control.rejected;
        else if constexpr (requires { pdu.data_length; })
            data = {control.buffer.data(), pdu.data_length};
        pdu.numbers = numbers(counts);
        constexpr bool login = std::is_same_v<Pdu, LoginResponse>;
        add_pdu(encode(pdu), data, &control, login);
    });
}

/// Header, digests, padding. The owner is released when all of it is out. Login responses are
/// plain: digests begin with the full feature phase.
void Connection::add_pdu(const HeaderBytes& header, std::span<const std::uint8_t> data,
                         Output* owner, bool plain) noexcept {
    std::array<std::uint8_t, digest_length + 3> extra{};
    batch_->add_bytes(header);
    if (parameters_.header_digest && !plain) {
        Crc32c digest;
        digest.feed(header);
        store_little_endian(extra.data(), digest.value());
        batch_->add_bytes(std::span(extra).first(digest_length));
    }
    if (!data.empty()) {
        const bool copied = data.size() <= SendBatch::copied_max;
        if (copied)
            batch_->add_bytes(data);
        else
            batch_->add_data(data, owner);
        const std::size_t padding = padded(static_cast<std::uint32_t>(data.size())) - data.size();
        extra = {};
        std::size_t length = padding;
        if (parameters_.data_digest && !plain) {
            Crc32c digest;
            digest.feed(data);
            digest.feed(std::span(extra).first(padding));
            store_little_endian(extra.data() + padding, digest.value());
            length += digest_length;
        }
        if (length > 0) batch_->add_bytes(std::span(extra).first(length));
        if (!copied) return;
    }
    if (owner != nullptr) release(*owner);
}

Numbers Connection::numbers(bool counts) noexcept {
    return {.status_sn = counts ? status_sn_++ : status_sn_,
            .expected_command_sn = expected_command_sn_,
            .max_command_sn = max_command_sn_};
}

}  // namespace wnbd::iscsi
