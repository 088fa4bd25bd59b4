// SPDX-License-Identifier: LGPL-2.1-or-later
// What a disk keeps for each of its initiators: reservations, and the unit attentions that are due.
#include <bit>

#include "engine/disk.h"

namespace wnbd::engine {
namespace {

// A bit each in Disk::attentions_; of several the lowest is reported first.
enum Attention : std::uint8_t {
    power_on_or_reset = 0x01,
    commands_cleared = 0x02,
    reservations_preempted = 0x04,
    reservations_released = 0x08,
    registrations_preempted = 0x10,
    capacity_data_has_changed = 0x20,
};

scsi::AdditionalSense additional_sense_of(std::uint8_t attention) noexcept {
    switch (attention) {
        case power_on_or_reset: return scsi::AdditionalSense::power_on_or_reset;
        case commands_cleared: return scsi::AdditionalSense::commands_cleared_by_another_initiator;
        case reservations_preempted: return scsi::AdditionalSense::reservations_preempted;
        case reservations_released: return scsi::AdditionalSense::reservations_released;
        case registrations_preempted: return scsi::AdditionalSense::registrations_preempted;
        default: return scsi::AdditionalSense::capacity_data_has_changed;
    }
}

}  // namespace

bool Disk::take_unit_attention(const scsi::Command& command, scsi::Answer& answer) noexcept {
    auto& due = attentions_[command.nexus];
    std::uint8_t pending = due.load(std::memory_order_relaxed);
    if (pending == 0) return false;
    if (!scsi::reports_unit_attention(command.cdb)) return false;
    std::uint8_t first = 0;
    do {
        if (pending == 0) return false;  // another command of the initiator's has told it
        first = static_cast<std::uint8_t>(pending & -pending);
    } while (!due.compare_exchange_weak(pending, static_cast<std::uint8_t>(pending & ~first)));
    answer = scsi::refuse(scsi::SenseKey::unit_attention, additional_sense_of(first));
    return true;
}

void Disk::raise(const scsi::NexusSet& nexuses, std::uint8_t attention) noexcept {
    nexuses.for_each([&](scsi::Nexus nexus) { attentions_[nexus].fetch_or(attention); });
}

void Disk::resize(std::uint64_t block_count) noexcept {
    block_count_ = block_count;
    for (auto& due : attentions_)
        due.fetch_or(capacity_data_has_changed);
}

/// PREEMPT AND ABORT: from the lock's release on nothing of a preempted initiator's gets in, and
/// what was in is ended, but for requests under copy. Those end with their copies, without another
/// step, so that nothing more of them reaches the storage either.
scsi::Answer Disk::run(const scsi::ReservationCommand& command, scsi::Nexus nexus) noexcept {
    if (command.kind == scsi::ReservationCommand::Kind::persistent_in) {
        scsi::Reservations now;
        {
            const platform::SpinGuard guard(queue_lock_);
            now = reservations_;
        }
        return now.report(command, *port_);
    }
    scsi::Answer answer;
    scsi::Consequences consequences;
    IntrusiveList<Request> ended;
    {
        const platform::SpinGuard guard(queue_lock_);
        answer = reservations_.change(nexus, command, consequences);
        reserved_ = reservations_.any();
        raise(consequences.reservations_preempted, reservations_preempted);
        raise(consequences.reservations_released, reservations_released);
        raise(consequences.registrations_preempted, registrations_preempted);
        if (!consequences.aborted.empty()) {
            detach_matching(Cause::aborted, Filter{.initiators = &consequences.aborted}, ended);
        }
    }
    end_drained(ended, Cause::aborted);
    return answer;
}

/// Under queue_lock_.
bool Disk::excluded(const scsi::Command& command) noexcept {
    if (!reserved_.load(std::memory_order_relaxed)) return false;
    return reservations_.conflicts(command.nexus, scsi::access_of(description_, command.cdb));
}

bool Disk::excluded_now(const scsi::Command& command) noexcept {
    if (!reserved_.load(std::memory_order_relaxed)) return false;
    const platform::SpinGuard guard(queue_lock_);
    return excluded(command);
}

/// Under queue_lock_.
void Disk::tell_of_clearing(scsi::Nexus by) noexcept {
    scsi::NexusSet told;
    for (Request* r = active_.front(); r != nullptr; r = active_.after(*r))
        told.add(r->nexus);
    for (Request* r = pending_.front(); r != nullptr; r = pending_.after(*r))
        told.add(r->nexus);
    told.remove(by);
    raise(told, commands_cleared);
}

void Disk::begin_nexus(scsi::Nexus nexus) noexcept {
    attentions_[nexus] = power_on_or_reset;
}

void Disk::tell_of_reset() noexcept {
    for (auto& due : attentions_)
        due.fetch_or(power_on_or_reset);
}

void Disk::lose_nexus(scsi::Nexus nexus) noexcept {
    const platform::SpinGuard guard(queue_lock_);
    reservations_.lose(nexus);
    reserved_ = reservations_.any();
    attentions_[nexus] = 0;
}

bool Disk::registered(scsi::Nexus nexus) noexcept {
    const platform::SpinGuard guard(queue_lock_);
    return reservations_.registered(nexus);
}

}  // namespace wnbd::engine
