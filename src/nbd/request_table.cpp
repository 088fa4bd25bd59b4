// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/request_table.h"

#include <algorithm>

#include "base/big_endian.h"

namespace wnbd::nbd {
namespace {

bool has_range(CommandType type) {
    return type != CommandType::flush && type != CommandType::disconnect;
}

bool has_payload(CommandType type) {
    return type == CommandType::read || type == CommandType::write;
}

}  // namespace

RequestTable::RequestTable(std::uint32_t capacity, std::uint32_t payload_max)
    : slots_(capacity), payload_max_(payload_max) {
    for (std::uint32_t index = capacity; index-- > 0;) {
        slots_[index].next = free_head_;
        free_head_ = index;
    }
}

std::uint32_t RequestTable::index_of(const Slot& slot) const noexcept {
    return static_cast<std::uint32_t>(&slot - slots_.data());
}

void RequestTable::enqueue(std::uint32_t index) noexcept {
    slots_[index].next = none;
    if (send_tail_ == none)
        send_head_ = index;
    else
        slots_[send_tail_].next = index;
    send_tail_ = index;
}

bool RequestTable::admit(const Command& command) noexcept {
    if (free_head_ == none) return false;
    const auto index = free_head_;
    auto& slot = slots_[index];
    free_head_ = slot.next;
    slot.command = command;
    slot.admitted = true;
    ++admitted_;
    enqueue(index);
    return true;
}

Slot* RequestTable::arm_next() noexcept {
    if (send_head_ == none) return nullptr;
    const auto index = send_head_;
    auto& slot = slots_[index];
    send_head_ = slot.next;
    if (send_head_ == none) send_tail_ = none;
    const auto limit = has_payload(slot.command.type) ? payload_max_ : max_wire_range;
    slot.piece = static_cast<std::uint32_t>(std::min<std::uint64_t>(slot.command.length, limit));
    slot.payload.store(
        slot.command.type == CommandType::write ? Slot::Payload::sending : Slot::Payload::none,
        std::memory_order_relaxed);
    // Generation 0 is left out, so that no handle is ever 0 and a zeroed reply finds nothing.
    if (++slot.generation == 0) slot.generation = 1;
    const auto handle = (std::uint64_t{slot.generation} << 32) | index;
    slot.handle.store(handle, std::memory_order_release);
    return &slot;
}

void RequestTable::retire(Slot& slot) noexcept {
    slot.handle.store(0, std::memory_order_relaxed);
    slot.admitted = false;
    --admitted_;
    slot.next = free_head_;
    free_head_ = index_of(slot);
}

bool RequestTable::continue_command(Slot& slot) noexcept {
    auto& command = slot.command;
    if (slot.piece == command.length) return false;
    command.offset += slot.piece;
    command.length -= slot.piece;
    if (command.data != nullptr) command.data += slot.piece;
    slot.handle.store(0, std::memory_order_relaxed);
    enqueue(index_of(slot));
    return true;
}

RequestTable::Found RequestTable::find(std::uint64_t handle) noexcept {
    const auto index = handle & 0xffffffff;
    if (index >= slots_.size() || (handle >> 32) == 0) return {};
    auto& slot = slots_[index];
    if (slot.handle.load(std::memory_order_acquire) != handle) return {nullptr, true};
    return {&slot, true};
}

void encode_request(std::span<std::uint8_t, request_size> to, const Command& command,
                    std::uint64_t handle, std::uint32_t length) noexcept {
    // Strict servers refuse a flush that names a range ("NBD_CMD_FLUSH").
    const bool range = has_range(command.type);
    store_big_endian<std::uint32_t>(&to[0], request_magic);
    store_big_endian<std::uint16_t>(&to[4], command.flags);
    store_big_endian<std::uint16_t>(&to[6], static_cast<std::uint16_t>(command.type));
    store_big_endian<std::uint64_t>(&to[8], handle);
    store_big_endian<std::uint64_t>(&to[16], range ? command.offset : 0);
    store_big_endian<std::uint32_t>(&to[24], range ? length : 0);
}

}  // namespace wnbd::nbd
