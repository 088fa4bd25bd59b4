// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/storport/slots.h"

#include <cstring>

#include "lab/storport/guarded_memory.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr std::uint32_t kAlignment = 64;

std::uint32_t round_up(std::uint32_t value) {
    return (value + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

SlotTable::SlotTable(std::uint32_t count, std::uint32_t extension_size)
    : count_(count),
      body_(kSrbBytes + kSenseBytes + round_up(extension_size)),
      stride_(body_ + kGuardBytes),
      memory_(new std::uint8_t[static_cast<std::size_t>(stride_) * count + kAlignment]),
      slots_(new Slot[count]) {
    const auto start = reinterpret_cast<std::uintptr_t>(memory_.get());
    base_ = memory_.get() + (kAlignment - start % kAlignment) % kAlignment;
    for (std::uint32_t i = 0; i < count; ++i) {
        slots_[i].index = i;
        idle_.push_back(&slots_[i]);
    }
}

std::uint8_t* SlotTable::srb(const Slot& slot) const {
    return base_ + static_cast<std::size_t>(slot.index) * stride_;
}

Slot* SlotTable::find(const void* srb) {
    const auto at = reinterpret_cast<std::uintptr_t>(srb);
    const auto base = reinterpret_cast<std::uintptr_t>(base_);
    if (at < base || (at - base) % stride_ != 0 || (at - base) / stride_ >= count_) return nullptr;
    return &slots_[(at - base) / stride_];
}

Slot* SlotTable::take() {
    if (idle_.empty()) return nullptr;
    Slot* slot = idle_.front();
    idle_.pop_front();
    if (slot->used) verify_poison(*slot);
    return slot;
}

void SlotTable::prepare(Slot& slot) {
    std::memset(srb(slot), 0, kSrbBytes + kSenseBytes);
    std::memset(extension(slot), kGarbage, body_ - kSrbBytes - kSenseBytes);
    std::memset(srb(slot) + body_, kGuard, kGuardBytes);
}

void SlotTable::poison(Slot& slot) {
    verify_guard(slot);
    std::memset(srb(slot), kPoison, stride_);
    slot.used = true;
}

void SlotTable::verify_poison(Slot& slot) {
    const std::size_t bad = first_other(srb(slot), stride_, kPoison);
    if (bad == stride_) return;
    const char* part = bad < kSrbBytes                 ? "SRB"
                       : bad < kSrbBytes + kSenseBytes ? "sense buffer"
                                                       : "SRB extension";
    report_violation("SRB touched after completion", "%s of SRB %p was written (byte %u)", part,
                     static_cast<void*>(srb(slot)), static_cast<unsigned>(bad));
    std::memset(srb(slot), kPoison, stride_);
}

void SlotTable::verify_guard(Slot& slot) {
    const std::size_t bad = first_other(srb(slot) + body_, kGuardBytes, kGuard);
    if (bad < kGuardBytes)
        report_violation("SRB extension overrun",
                         "byte %u behind the extension of SRB %p was written",
                         static_cast<unsigned>(bad), static_cast<void*>(srb(slot)));
}

void SlotTable::verify_all() {
    for (Slot* slot : idle_)
        if (slot->used) verify_poison(*slot);
}

}  // namespace wnbd::lab
