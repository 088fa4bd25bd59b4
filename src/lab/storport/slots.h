// SPDX-License-Identifier: LGPL-2.1-or-later
// The SRBs of an adapter: a fixed table, so that any pointer the miniport hands back can be told to
// be a live SRB, a completed one, or none at all. The memory the miniport sees lies apart from the
// port's own record of it and is poisoned from completion until reuse (oldest first).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "driver/ddk/storport.h"
#include "lab/storport/port.h"

namespace wnbd::lab {

struct Unit;

enum class SlotState : std::uint32_t {
    Idle,     ///< poisoned (or never used)
    Issued,   ///< the miniport's
    Done,     ///< completed by the miniport, its results are being taken
    GivenUp,  ///< never came back in spite of all resets; never used again
};

struct Slot {
    std::atomic<SlotState> state{SlotState::Idle};
    std::uint32_t index = 0;
    bool used = false;  ///< poisoned at least once

    // Valid while Issued or Done.
    Request* request = nullptr;
    Unit* unit = nullptr;
    std::uint64_t sequence = 0;
    std::uint64_t deadline_ms = 0;
    bool extended = false;
    bool counted = false;     ///< takes a place of the unit's and the adapter's queue
    bool recovering = false;  ///< its time-out is being dealt with
    std::uint8_t* payload = nullptr;
    std::uint8_t* shadow = nullptr;
    std::uint32_t payload_length = 0;
};

class SlotTable {
  public:
    /// `count` SRBs with `extension_size` bytes of miniport extension each.
    SlotTable(std::uint32_t count, std::uint32_t extension_size);

    /// The idle slot that has been idle for longest, its poison checked; nullptr when all are out.
    /// Needs the adapter's lock.
    Slot* take();
    /// Poisons the SRB's memory; the caller then returns the slot with give_back().
    void poison(Slot& slot);
    void give_back(Slot& slot) { idle_.push_back(&slot); }
    /// The slot whose SRB lies exactly at `srb`, or nullptr.
    Slot* find(const void* srb);

    [[nodiscard]] std::uint8_t* srb(const Slot& slot) const;
    [[nodiscard]] std::uint8_t* sense(const Slot& slot) const { return srb(slot) + kSrbBytes; }
    [[nodiscard]] std::uint8_t* extension(const Slot& slot) const {
        return sense(slot) + kSenseBytes;
    }
    /// Fills SRB and extension with what the miniport may rely on: zeros, and nothing,
    /// respectively.
    void prepare(Slot& slot);
    /// Reports writes to idle SRBs and behind live ones. Needs the adapter's lock.
    void verify_all();

    [[nodiscard]] std::uint32_t size() const { return count_; }
    Slot& operator[](std::uint32_t index) { return slots_[index]; }

    static constexpr std::uint32_t kSrbBytes = 256;
    static constexpr std::uint32_t kSenseBytes = 256;

  private:
    void verify_poison(Slot& slot);
    void verify_guard(Slot& slot);

    std::uint32_t count_;
    std::uint32_t body_;  // bytes before the guard
    std::uint32_t stride_;
    std::unique_ptr<std::uint8_t[]> memory_;
    std::uint8_t* base_;
    std::unique_ptr<Slot[]> slots_;
    std::deque<Slot*> idle_;
};

}  // namespace wnbd::lab
