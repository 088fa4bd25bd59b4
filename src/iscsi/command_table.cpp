// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/command_table.h"

#include <bit>

namespace wnbd::iscsi {

CommandTable::CommandTable(std::uint32_t capacity)
    : capacity_(capacity), slots_(new CommandSlot[capacity]) {
    const std::uint32_t positions = std::bit_ceil(2 * capacity);
    hash_.assign(positions, empty);
    mask_ = positions - 1;
    shift_ = 32U - static_cast<unsigned>(std::bit_width(mask_));
    for (std::uint32_t i = capacity; i-- > 0;) {
        slots_[i].index = static_cast<std::uint16_t>(i);
        slots_[i].hash_position = nowhere;
        slots_[i].next_free = free_;
        free_ = &slots_[i];
    }
}

CommandSlot* CommandTable::find(std::uint32_t task_tag) noexcept {
    for (std::uint32_t at = home(task_tag); hash_[at] != empty; at = (at + 1) & mask_) {
        CommandSlot& slot = slots_[hash_[at]];
        if (slot.task_tag == task_tag) return &slot;
    }
    return nullptr;
}

CommandSlot& CommandTable::take(std::uint32_t task_tag) noexcept {
    CommandSlot& slot = *free_;
    free_ = slot.next_free;
    ++in_use_;

    std::uint32_t at = home(task_tag);
    while (hash_[at] != empty)
        at = (at + 1) & mask_;
    hash_[at] = slot.index;

    slot.hash_position = at;
    slot.task_tag = task_tag;
    slot.state = SlotState::gathering;
    slot.data = {};
    slot.cause = engine::Cause::answered;
    slot.answer = {};
    slot.unit = nullptr;
    slot.moves_out = 0;
    slot.whole = slot.delivered = slot.unsolicited = false;
    slot.wanted = slot.received = slot.asked_until = slot.burst_end = 0;
    slot.data_sn = slot.r2t_sent = slot.r2t_done = 0;
    slot.verdict.reset();
    slot.send_length = slot.sent_until = slot.data_in_sn = 0;
    slot.residual = Residual::none;
    slot.residual_count = 0;
    return slot;
}

/// Closes the gap, so that no probe ends early: whatever would be found there moves up.
void CommandTable::forget_tag(CommandSlot& slot) noexcept {
    if (slot.hash_position == nowhere) return;
    std::uint32_t gap = slot.hash_position;
    slot.hash_position = nowhere;
    for (std::uint32_t at = (gap + 1) & mask_; hash_[at] != empty; at = (at + 1) & mask_) {
        CommandSlot& other = slots_[hash_[at]];
        const std::uint32_t from_home = (at - home(other.task_tag)) & mask_;
        if (from_home < ((at - gap) & mask_)) continue;
        hash_[gap] = hash_[at];
        other.hash_position = gap;
        gap = at;
    }
    hash_[gap] = empty;
}

void CommandTable::give_back(CommandSlot& slot) noexcept {
    forget_tag(slot);
    slot.buffer.reset();
    slot.state = SlotState::free;
    slot.next_free = free_;
    free_ = &slot;
    --in_use_;
}

}  // namespace wnbd::iscsi
