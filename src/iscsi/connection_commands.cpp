// SPDX-License-Identifier: LGPL-2.1-or-later
// SCSI commands from their PDU to the logical unit.
#include <algorithm>
#include <utility>

#include "iscsi/connection_work.h"
#include "iscsi/target_commands.h"

namespace wnbd::iscsi {

PduSink::Placement Connection::begin_command(HeaderView header,
                                             std::span<const std::uint8_t> additional) noexcept {
    constexpr PduSink::Placement dropped{.placed = true};
    const ScsiCommandHeader request = read_scsi_command(header);
    const Sequence& sequence = request.sequence;
    unacknowledged_ = status_sn_ - sequence.expected_status_sn;
    ++arrived_;
    if (!sequence.immediate) {
        const Turn turn = turn_of(sequence.command_sn);
        const bool again =
            turn == Turn::early && early(sequence.command_sn).kind != Early::Kind::none;
        if (turn == Turn::never || again) {
            current_ = Current::ignored;
            return dropped;
        }
    }
    current_ = Current::refused;
    if (sequence.task_tag == no_tag) {
        refuse(header, RejectReason::invalid_pdu_field, "a command under the reserved tag");
        return dropped;
    }
    if (commands_.find(sequence.task_tag) != nullptr) {
        refuse(header, RejectReason::task_in_progress, "a command under a tag that is in use");
        return dropped;
    }
    if (sequence.immediate && immediate_count_ >= immediate_max) {
        refuse(header, RejectReason::immediate_command, "too many immediate commands");
        return dropped;
    }
    CommandSlot& slot = commands_.take(sequence.task_tag);
    current_ = Current::command;
    current_slot_ = &slot;
    read_command(slot, request, additional);
    prepare_transfer(slot);
    expect_data(slot, request, data_length(header));
    const std::size_t room = slot.verdict ? 0 : slot.wanted;
    return {.placed = true, .room = {slot.buffer.data(), room}};
}

void Connection::read_command(CommandSlot& slot, const ScsiCommandHeader& request,
                              std::span<const std::uint8_t> additional) noexcept {
    slot.owner = this;
    slot.nexus = session_.nexus;
    slot.command_sn = request.sequence.command_sn;
    slot.immediate = request.sequence.immediate;
    if (slot.immediate) ++immediate_count_;
    slot.lun = request.lun;
    slot.unit = target_.find(request.lun);
    slot.reads = request.read;
    slot.writes = request.write;
    slot.expected_length = request.read || request.write ? request.expected_length : 0;
    slot.offered = 0;
    std::copy(request.cdb.begin(), request.cdb.end(), slot.cdb.begin());
    slot.cdb_length = static_cast<std::uint8_t>(request.cdb.size());
    constexpr std::uint8_t aca = 4;  // nothing here can establish one
    if ((request.read && request.write) || request.attribute >= aca) {
        log(Log::Level::warning, "a command both ways, or under ACA");
        slot.verdict = invalid_information_unit;
    }
    if (additional.empty()) return;
    const AdditionalHeaders more = read_additional(additional);
    const std::size_t room = slot.cdb.size() - request.cdb.size();
    if (!more.valid || more.read_length || more.cdb_rest.size() > room) {
        log(Log::Level::warning, "a command with additional headers that it cannot have");
        slot.verdict = invalid_information_unit;
        return;
    }
    std::copy(more.cdb_rest.begin(), more.cdb_rest.end(), slot.cdb.begin() + request.cdb.size());
    slot.cdb_length = static_cast<std::uint8_t>(slot.cdb_length + more.cdb_rest.size());
}

/// Memory for all that the command moves. Nothing is solicited without a place for it.
void Connection::prepare_transfer(CommandSlot& slot) noexcept {
    if (slot.verdict) return;
    const std::span<const std::uint8_t> cdb(slot.cdb.data(), slot.cdb_length);
    std::size_t bytes = 0;
    if (is_for_target(slot.unit, cdb)) {
        bytes = target_answer_max;
    } else {
        const scsi::Transfer transfer = slot.unit->transfer_of(cdb);
        bytes = transfer.bytes;
        if (slot.writes && transfer.direction != scsi::Transfer::Direction::in)
            slot.offered = slot.expected_length;
        if (transfer.direction == scsi::Transfer::Direction::out) {
            slot.moves_out = bytes;
            slot.wanted = slot.writes ? std::min(transfer.bytes, slot.expected_length) : 0;
            bytes = slot.wanted;
        }
    }
    if (bytes == 0) return;
    slot.buffer = target_.buffers().take(bytes);
    if (!slot.buffer) {
        // Whoever has commands under way hears of it when one ends; else it must ask again.
        const bool alone = running_ == 0;
        slot.verdict = scsi::Answer{alone ? scsi::Status::busy : scsi::Status::task_set_full};
        return;
    }
    slot.data = {slot.buffer.data(), bytes};
}

/// What the command's own PDU brings, and whether more comes unasked (RFC 7143, 11.3.1, 11.3.4).
void Connection::expect_data(CommandSlot& slot, const ScsiCommandHeader& request,
                             std::uint32_t immediate_length) noexcept {
    const std::uint32_t unasked_max = std::min(parameters_.first_burst, slot.expected_length);
    const bool more = !request.final;
    const bool immediate_fits =
        immediate_length == 0 ||
        (slot.writes && parameters_.immediate_data && immediate_length <= unasked_max);
    const bool more_fits = !more || (slot.writes && !parameters_.initial_r2t);
    if (!immediate_fits || !more_fits) {
        log(Log::Level::warning, "a command with data that was not agreed upon");
        slot.verdict = unexpected_data;
        // The command does not wait for what it was free to announce.
        if (more && more_fits) note_lost(slot.task_tag);
    }
    slot.unsolicited = more && more_fits && immediate_fits;
    slot.burst_end = unasked_max;
}

void Connection::finish_command(HeaderView header, bool intact) noexcept {
    CommandSlot& slot = *current_slot_;
    if (!intact) {
        refuse(header, RejectReason::data_digest_error, "a data digest was wrong");
        slot.verdict = damaged_data;
    }
    slot.received = data_length(header);
    slot.whole = true;
    if (slot.immediate) return deliver(slot);
    if (turn_of(slot.command_sn) == Turn::early) {
        Early& place = early(slot.command_sn);
        place.kind = Early::Kind::command;
        place.slot = &slot;
        ++early_count_;
        return;
    }
    ++expected_command_sn_;
    deliver(slot);
    run_early();
}

PduSink::Placement Connection::begin_data_out(HeaderView header) noexcept {
    constexpr PduSink::Placement dropped{.placed = true};
    const DataOutHeader data = read_data_out(header);
    const std::uint32_t length = data_length(header);
    current_ = Current::ignored;
    CommandSlot* const slot = commands_.find(data.task_tag);
    if (slot == nullptr || slot->state != SlotState::gathering) {
        // Of a command that has ended early, data may have been on its way.
        const bool lost = std::ranges::find(lost_tags_, data.task_tag) != lost_tags_.end();
        if (!lost)
            refuse(header, RejectReason::protocol_error, "data-out that nobody has asked for");
        return dropped;
    }
    const std::string_view fault = fault_of(*slot, data, length);
    if (!fault.empty()) {
        refuse(header, RejectReason::invalid_pdu_field, fault);
        // What belongs to which sequence can't be told any more: the command ends now.
        if (!slot->verdict) slot->verdict = wrong_amount_of_data;
        slot->unsolicited = false;
        slot->r2t_done = slot->r2t_sent;
        note_lost(slot->task_tag);
        proceed(*slot);
        return dropped;
    }
    current_ = Current::data_out;
    current_slot_ = slot;
    if (slot->verdict || slot->received >= slot->wanted) return dropped;
    return {.placed = true,
            .room = {slot->buffer.data() + slot->received, slot->wanted - slot->received}};
}

/// RFC 7143, 11.7. DataPDUInOrder and DataSequenceInOrder are always Yes.
std::string_view Connection::fault_of(const CommandSlot& slot, const DataOutHeader& data,
                                      std::uint32_t length) const noexcept {
    const bool solicited = data.target_tag != no_tag;
    if (!solicited && !slot.unsolicited) return "unsolicited data-out after its end";
    if (solicited &&
        (slot.r2t_done == slot.r2t_sent || data.target_tag != target_tag(slot, slot.r2t_done)))
        return "data-out under a target tag that is not outstanding";
    if (data.data_sn != slot.data_sn) return "data-out with a gap in DataSN";
    if (data.offset != slot.received) return "data-out with a gap in its offset";
    if (length > slot.burst_end - slot.received) return "data-out beyond the end of its burst";
    const bool burst_full = length == slot.burst_end - slot.received;
    if (solicited && data.final != burst_full)
        return "data-out whose F bit is not at the end of its burst";
    if (!data.final && burst_full) return "unsolicited data-out without an end";
    if (!data.final && length == 0) return "empty data-out";
    return {};
}

void Connection::finish_data_out(HeaderView header, bool intact) noexcept {
    CommandSlot& slot = *current_slot_;
    const DataOutHeader data = read_data_out(header);
    if (!intact) {
        refuse(header, RejectReason::data_digest_error, "a data digest was wrong");
        if (!slot.verdict) slot.verdict = damaged_data;
    }
    slot.received += data_length(header);
    ++slot.data_sn;
    if (data.final) {
        slot.data_sn = 0;
        if (slot.unsolicited) {
            slot.unsolicited = false;
        } else {
            ++slot.r2t_done;
            slot.burst_end = std::min(slot.received + parameters_.max_burst, slot.wanted);
        }
    }
    proceed(slot);
}

void Connection::deliver(CommandSlot& slot) noexcept {
    slot.delivered = true;
    proceed(slot);
}

/// Whatever can be done next with a command that gathers.
void Connection::proceed(CommandSlot& slot) noexcept {
    if (!slot.delivered) return;
    if (slot.verdict) {
        if (slot.owed_data()) return;
        const scsi::Answer verdict = *slot.verdict;
        return answer(slot, verdict);
    }
    if (slot.unsolicited) return;
    if (slot.received >= slot.wanted) return run(slot);
    if (slot.r2t_sent == 0) slot.asked_until = slot.received;
    if (slot.asked_until < slot.wanted) queue(slot);
}

std::uint32_t Connection::target_tag(const CommandSlot& slot, std::uint32_t r2t) const noexcept {
    return std::uint32_t{slot.index} << 16 | (r2t & 0xFFFF);
}

void Connection::run(CommandSlot& slot) noexcept {
    slot.state = SlotState::running;
    const std::span<const std::uint8_t> cdb(slot.cdb.data(), slot.cdb_length);
    if (is_for_target(slot.unit, cdb))
        return answer(
            slot, answer_for_target(slot.unit != nullptr, target_.units().size(), cdb, slot.data));
    ++running_;
    if (started_ != slot.unit) serve_started();
    started_ = slot.unit;
    if (slot.unit->start(slot) == LogicalUnit::Start::answered) end_running(slot);
}

/// All that one receive has brought goes to the backend together.
void Connection::serve_started() noexcept {
    if (started_ != nullptr) std::exchange(started_, nullptr)->serve();
}

void Connection::end_running(CommandSlot& slot) noexcept {
    --running_;
    if (phase_ == Phase::detached) return commands_.give_back(slot);
    switch (slot.cause) {
        case engine::Cause::answered: return answer(slot, slot.answer);
        // TAS is 0: nothing is said of commands that were aborted (SPC-4, control mode page).
        case engine::Cause::aborted:
        case engine::Cause::bus_reset: return end_quietly(slot);
        case engine::Cause::removed:
            return answer(slot, scsi::refuse(scsi::SenseKey::illegal_request,
                                             scsi::AdditionalSense::logical_unit_not_supported));
        case engine::Cause::failed: break;
    }
    answer(slot, scsi::refuse(scsi::SenseKey::hardware_error,
                              scsi::AdditionalSense::internal_target_failure));
}

void Connection::end_quietly(CommandSlot& slot) noexcept {
    if (slot.immediate)
        --immediate_count_;
    else if (slot.delivered)
        ++max_command_sn_;
    if (!slot.queued) return commands_.give_back(slot);
    commands_.forget_tag(slot);
    slot.state = SlotState::over;
}

void Connection::note_lost(std::uint32_t task_tag) noexcept {
    const std::size_t most = window_ + spare_commands;  // for which there is memory
    if (lost_tags_.size() < most)
        lost_tags_.push_back(task_tag);
    else
        lost_tags_[lost_next_++ % most] = task_tag;
}

}  // namespace wnbd::iscsi
