// SPDX-License-Identifier: LGPL-2.1-or-later
// A connection's commands, found by their initiator task tag in one step.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "iscsi/command_slot.h"

namespace wnbd::iscsi {

/// Fixed in size. One thread at a time.
class CommandTable {
  public:
    /// Throws std::bad_alloc. At most 2^15 slots.
    explicit CommandTable(std::uint32_t capacity);

    [[nodiscard]] std::uint32_t slots_free() const noexcept { return capacity_ - in_use_; }
    [[nodiscard]] std::span<CommandSlot> slots() noexcept { return {slots_.get(), capacity_}; }

    /// The command that goes by this tag and is not answered yet.
    [[nodiscard]] CommandSlot* find(std::uint32_t task_tag) noexcept;
    /// A fresh slot under a tag that none has. The table is not full.
    [[nodiscard]] CommandSlot& take(std::uint32_t task_tag) noexcept;
    /// The tag may be used again; the slot stays taken.
    void forget_tag(CommandSlot& slot) noexcept;
    /// Gives back the slot and its buffer.
    void give_back(CommandSlot& slot) noexcept;

  private:
    static constexpr std::uint16_t empty = 0xFFFF;
    static constexpr std::uint32_t nowhere = 0xFFFF'FFFF;

    [[nodiscard]] std::uint32_t home(std::uint32_t task_tag) const noexcept {
        // Tags are often counters, or an index in the upper half: both spread by this.
        return static_cast<std::uint32_t>((task_tag * 0x9E37'79B9U) >> shift_);
    }

    const std::uint32_t capacity_;
    const std::unique_ptr<CommandSlot[]> slots_;
    std::vector<std::uint16_t> hash_;  // slots' indices; linear probing, at most half full
    std::uint32_t mask_ = 0;
    unsigned shift_ = 0;
    CommandSlot* free_ = nullptr;
    std::uint32_t in_use_ = 0;
};

}  // namespace wnbd::iscsi
