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

/// Bytes, of all its pieces.
std::uint64_t payload_of(const Command& command) {
    return has_payload(command.type) ? command.length : 0;
}

}  // namespace

WireTerms WireTerms::of(const Agreement& agreement) noexcept {
    // The limit stays a multiple of the minimum block, which is a power of two.
    const auto& info = agreement.info;
    return {.format = agreement.format,
            .payload_max =
                std::min(info.maximum_payload, default_maximum_payload) & ~(info.minimum_block - 1),
            .allocation_context = agreement.allocation_context};
}

RequestTable::RequestTable(std::uint32_t capacity, const WireTerms& terms)
    : slots_(capacity), order_(capacity), terms_(terms) {
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
    slots_[index].time = time_;
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
    slot.done = 0;
    slot.sequence = ++admissions_;
    slot.admitted = true;
    ++admitted_;
    payload_ += payload_of(command);
    enqueue(index);
    return true;
}

std::uint64_t RequestTable::piece_max(CommandType type) const noexcept {
    if (has_payload(type)) return terms_.payload_max;
    return terms_.format == WireFormat::extended ? max_export_size : max_wire_range;
}

Slot* RequestTable::arm_next() noexcept {
    if (send_head_ == none) return nullptr;
    const auto index = send_head_;
    auto& slot = slots_[index];
    send_head_ = slot.next;
    if (send_head_ == none) send_tail_ = none;
    const auto& command = slot.command;
    slot.piece = std::min(command.length - slot.done, piece_max(command.type));
    slot.error = 0;
    slot.coverage = {};
    slot.status_came = false;
    if (command.extents != nullptr) command.extents->count = 0;
    slot.payload.store(
        command.type == CommandType::write ? Slot::Payload::sending : Slot::Payload::none,
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
    payload_ -= payload_of(slot.command);
    slot.next = free_head_;
    free_head_ = index_of(slot);
}

bool RequestTable::continue_command(Slot& slot) noexcept {
    const auto& command = slot.command;
    slot.done += slot.piece;
    if (slot.done == command.length || command.type == CommandType::block_status) return false;
    slot.handle.store(0, std::memory_order_relaxed);
    enqueue(index_of(slot));
    return true;
}

std::span<const std::uint32_t> RequestTable::in_order_of_admission() noexcept {
    std::size_t count = 0;
    for (const auto& slot : slots_)
        if (slot.admitted) order_[count++] = index_of(slot);
    const auto order = std::span(order_).first(count);
    std::sort(order.begin(), order.end(), [this](std::uint32_t one, std::uint32_t other) {
        return slots_[one].sequence < slots_[other].sequence;
    });
    // Those still to be sent are among them.
    send_head_ = send_tail_ = none;
    return order;
}

RequestTable::Found RequestTable::find(std::uint64_t handle) noexcept {
    const auto index = handle & 0xffffffff;
    if (index >= slots_.size() || (handle >> 32) == 0) return {};
    auto& slot = slots_[index];
    if (slot.handle.load(std::memory_order_acquire) != handle) return {nullptr, true};
    return {&slot, true};
}

std::size_t encode_request(std::span<std::uint8_t, extended_request_size> to, WireFormat format,
                           const WireRequest& request) noexcept {
    const bool extended = format == WireFormat::extended;
    const bool has_extended_payload = extended && request.type == CommandType::write;
    // Strict servers refuse a flush that names a range ("NBD_CMD_FLUSH").
    const bool range = has_range(request.type);
    const std::uint64_t length = range ? request.length : 0;
    store_big_endian<std::uint32_t>(&to[0], extended ? extended_request_magic : request_magic);
    store_big_endian<std::uint16_t>(
        &to[4], has_extended_payload
                    ? static_cast<std::uint16_t>(request.flags | command_flag_payload_len)
                    : request.flags);
    store_big_endian<std::uint16_t>(&to[6], static_cast<std::uint16_t>(request.type));
    store_big_endian<std::uint64_t>(&to[8], request.handle);
    store_big_endian<std::uint64_t>(&to[16], range ? request.offset : 0);
    if (extended)
        store_big_endian<std::uint64_t>(&to[24], length);
    else
        store_big_endian<std::uint32_t>(&to[24], static_cast<std::uint32_t>(length));
    return header_size(format);
}

}  // namespace wnbd::nbd
