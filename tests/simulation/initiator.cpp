// SPDX-License-Identifier: LGPL-2.1-or-later
#include "initiator.h"

#include <algorithm>

namespace wnbd::nbd::sim {
namespace {

constexpr std::uint64_t whole_disk_at_once = 64;  // LBAs that a read of everything takes at a time

}  // namespace

Initiator::Initiator(World& world, Judge& judge, const Agreement& agreement, unsigned depth,
                     Submit submit)
    : world_(world),
      judge_(judge),
      agreement_(agreement),
      submit_(std::move(submit)),
      slots_(depth),
      align_(std::max<std::uint64_t>(agreement.info.minimum_block / block_size, 1)) {
    for (auto& slot : slots_) {
        slot.owner = this;
        slot.request.context = &slot;
        slot.request.done = &Initiator::done;
        slot.room.resize(extents_max);
    }
}

Initiator::Slot* Initiator::free_slot() noexcept {
    const auto found =
        std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.busy; });
    return found == slots_.end() ? nullptr : &*found;
}

bool Initiator::work() {
    std::vector<Request*> batch;
    const auto count = world_.random().between(1, 8);
    while (!stopped_ && batch.size() < count) {
        Slot* const slot = free_slot();
        if (slot == nullptr) break;
        prepare(*slot);
        batch.push_back(&slot->request);
    }
    if (!batch.empty()) submit_(batch);
    return !batch.empty();
}

CommandType Initiator::draw_type() {
    auto& random = world_.random();
    switch (random.below(20)) {
        case 0: return has(transmission_send_flush) ? CommandType::flush : CommandType::write;
        case 1:
        case 2: return has(transmission_send_trim) ? CommandType::trim : CommandType::read;
        case 3:
        case 4:
            return has(transmission_send_write_zeroes) ? CommandType::write_zeroes
                                                       : CommandType::write;
        case 5:
            return agreement_.allocation_context ? CommandType::block_status : CommandType::read;
        case 6: return has(transmission_send_cache) ? CommandType::cache : CommandType::read;
        default: return random.coin() ? CommandType::read : CommandType::write;
    }
}

Blocks Initiator::draw_range(CommandType type) {
    auto& random = world_.random();
    const bool long_one = changes(type) && type != CommandType::write && random.chance(1'000);
    if (long_one || (type == CommandType::block_status && random.chance(3'000))) {
        const auto first = random.below(disk_blocks / align_) * align_;
        return {first, align_ * random.between(1, (disk_blocks - first) / align_)};
    }
    const auto& place = places[random.below(places.size())];
    // Most in a few blocks, so that they meet.
    const auto within = random.coin() ? std::min<std::uint64_t>(place.count, 16) : place.count;
    const auto first = random.below(within / align_) * align_;
    auto longest = within - first;
    if (!random.chance(200)) longest = std::min<std::uint64_t>(longest, 16);
    const auto count = align_ * random.between(1, std::max<std::uint64_t>(longest / align_, 1));
    return {place.first + first, count};
}

void Initiator::prepare(Slot& slot) {
    auto& random = world_.random();
    const auto type = draw_type();
    std::uint16_t flags = 0;
    if (changes(type) && has(transmission_send_fua) && random.chance(1'000))
        flags |= command_flag_fua;
    if (type == CommandType::write_zeroes && random.coin()) flags |= command_flag_no_hole;
    if (type == CommandType::write_zeroes && has(transmission_send_fast_zero) && random.coin())
        flags |= command_flag_fast_zero;
    if (type == CommandType::read && has(transmission_send_df) && random.coin() &&
        agreement_.format != WireFormat::simple)
        flags |= command_flag_df;
    if (type == CommandType::block_status && random.coin()) flags |= command_flag_req_one;
    fill(slot, type, flags, type == CommandType::flush ? Blocks{} : draw_range(type));
}

void Initiator::fill(Slot& slot, CommandType type, std::uint16_t flags, const Blocks& range) {
    slot.busy = true;
    const bool data = type == CommandType::read || type == CommandType::write;
    if (data)
        slot.buffer.resize(std::max<std::size_t>(slot.buffer.size(), range.count * block_size));
    Intent intent{.type = type, .flags = flags, .range = range};
    if (type == CommandType::write) {
        intent.sequence = ++sequence_;
        for (std::uint64_t i = 0; i < range.count; ++i)
            fill_block(&slot.buffer[i * block_size], intent.sequence, range.first + i);
    } else if (type == CommandType::read) {
        std::fill_n(slot.buffer.begin(), range.count * block_size, std::uint8_t{0xa5});
    }
    slot.extents = {slot.room.data(), extents_max, 0};
    slot.request.command = {.type = type,
                            .flags = flags,
                            .offset = range.first * block_size,
                            .length = range.count * block_size,
                            .data = data ? slot.buffer.data() : nullptr,
                            .extents = type == CommandType::block_status ? &slot.extents : nullptr};
    slot.number = judge_.next_number();
    judge_.begins(intent);
}

void Initiator::done(Request& request, Outcome outcome) noexcept {
    auto& slot = *static_cast<Slot*>(request.context);
    slot.owner->ended(slot, outcome);
}

void Initiator::ended(Slot& slot, const Outcome& outcome) {
    judge_.ends(slot.number, outcome, slot.buffer.data(), &slot.extents);
    slot.busy = false;
    ++completed_;
    // A completion may submit at once, or somebody does later.
    if (!stopped_ && !outcome.disconnected && world_.random().coin()) (void)work();
}

bool Initiator::read_all() {
    std::vector<Request*> batch;
    for (const auto& place : places) {
        for (std::uint64_t at = 0; at < place.count; at += whole_disk_at_once) {
            Slot* const slot = free_slot();
            if (slot == nullptr) return false;
            fill(*slot, CommandType::read, 0,
                 {place.first + at, std::min(whole_disk_at_once, place.count - at)});
            batch.push_back(&slot->request);
        }
    }
    submit_(batch);
    return true;
}

}  // namespace wnbd::nbd::sim
