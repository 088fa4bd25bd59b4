// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/adapter.h"

#include <utility>

#include "engine/describe.h"

namespace wnbd::engine {
namespace {

// A connection id is a counter that never repeats, and below it the target: so it is found by
// index.
constexpr unsigned target_bits = 8;
constexpr std::uint64_t target_mask = (std::uint64_t{1} << target_bits) - 1;

bool same_name(const char* one, const char* other) noexcept {
    for (std::size_t i = 0; i < WNBD_MAX_NAME_LENGTH; ++i) {
        if (one[i] != other[i]) return false;
        if (one[i] == '\0') return true;
    }
    return true;
}

}  // namespace

void Adapter::initialize(Port& port, const Options* options) noexcept {
    port_ = &port;
    options_ = options;
    control_.initialize();
    for (Unit& unit : units_) {
        unit.disk.initialize(port);
        platform::initialize(unit.gone, platform::EventKind::manual_reset);
        platform::set(unit.gone);
    }
}

UnitReference Adapter::find(std::uint8_t path, std::uint8_t target, std::uint8_t lun) noexcept {
    if (path != 0 || lun != 0) return {};
    return unit_at(target);
}

UnitReference Adapter::unit_at(std::uint8_t target) noexcept {
    if (target >= max_disks || !units_[target].disk.acquire()) return {};
    return UnitReference(&units_[target]);
}

UnitReference Adapter::find(std::uint64_t connection_id) noexcept {
    const std::uint64_t target = connection_id & target_mask;
    if (target >= max_disks || !units_[target].disk.acquire()) return {};
    UnitReference reference(&units_[target]);
    if (reference->disk.connection_id() != connection_id) return {};
    return reference;
}

void Adapter::saw_vacancy(std::uint8_t target) noexcept {
    if (target < max_disks) units_[target].vacancy_seen.store(true, std::memory_order_relaxed);
}

std::uint8_t Adapter::target_of(const Unit& unit) const noexcept {
    return static_cast<std::uint8_t>(&unit - units_);
}

UnitReference Adapter::find_by_name(const char* instance_name) noexcept {
    for (std::uint8_t target = 0; target < max_disks; ++target) {
        UnitReference reference = unit_at(target);
        if (reference && same_name(reference->properties.InstanceName, instance_name))
            return reference;
    }
    return {};
}

Result<UnitReference, nt::Status> Adapter::create(const WNBD_PROPERTIES& properties, Owner owner,
                                                  std::uint32_t max_requests) noexcept {
    const scsi::Disk description = describe(properties);
    if (!scsi::well_formed(description)) return Failure{nt::invalid_parameter};
    UnitReference reference;
    {
        const platform::MutexGuard guard(control_);
        // Asked here and not kept: whatever order two changes of the option come in, it holds.
        const bool allowed = options_ == nullptr || options_->new_mappings_allowed();
        if (!allowed || retired_) return Failure{nt::shutdown_in_progress};
        if (name_in_use(properties.InstanceName)) return Failure{nt::object_name_collision};
        Unit* const unit = free_unit();
        if (unit == nullptr) return Failure{nt::too_many_addresses};
        const std::uint64_t connection_id = (++last_connection_ << target_bits) | target_of(*unit);
        if (!unit->disk.prepare(connection_id, description, properties.BlockCount, max_requests))
            return Failure{nt::insufficient_resources};
        unit->properties = properties;
        unit->owner = owner;
        platform::clear(unit->gone);
        unit->vacancy_seen.store(false, std::memory_order_relaxed);
        unit->disk.go_online();
        // Nobody can remove it before this guard is released, so the reference is to be had.
        if (unit->disk.acquire()) reference.adopt(unit);
    }
    port_->disks_changed();
    return Result<UnitReference, nt::Status>(std::move(reference));
}

/// A name is taken until its disk is quite gone.
bool Adapter::name_in_use(const char* instance_name) noexcept {
    for (const Unit& unit : units_)
        if (unit.disk.state() != DiskState::gone &&
            same_name(unit.properties.InstanceName, instance_name))
            return true;
    return false;
}

Unit* Adapter::free_unit() noexcept {
    Unit* second_choice = nullptr;
    for (Unit& unit : units_) {
        if (unit.disk.state() != DiskState::gone || unit.removers != 0) continue;
        if (unit.vacancy_seen.load(std::memory_order_relaxed)) return &unit;
        if (second_choice == nullptr) second_choice = &unit;
    }
    return second_choice;
}

bool Adapter::remove(std::uint64_t connection_id) noexcept {
    const std::uint64_t target = connection_id & target_mask;
    if (target >= max_disks) return false;
    Unit& unit = units_[target];
    {
        const platform::MutexGuard guard(control_);
        if (unit.disk.connection_id() != connection_id || unit.disk.state() == DiskState::gone)
            return false;
        ++unit.removers;  // from here on the unit stays this disk's until we let go
    }
    if (unit.disk.begin_removal()) {
        port_->disks_changed();
        unit.disk.await_idle();
        const platform::MutexGuard guard(control_);
        unit.disk.finish_removal();
        unit.owner = nullptr;
        platform::set(unit.gone);
    } else {
        platform::wait(unit.gone, false);
    }
    const platform::MutexGuard guard(control_);
    --unit.removers;
    return true;
}

void Adapter::remove_owned_by(Owner owner) noexcept {
    if (owner == nullptr) return;
    while (const std::uint64_t connection_id = first_owned_by(owner))
        remove(connection_id);
}

void Adapter::remove_all() noexcept {
    while (const std::uint64_t connection_id = first_present())
        remove(connection_id);
}

void Adapter::retire() noexcept {
    {
        const platform::MutexGuard guard(control_);
        retired_ = true;
    }
    remove_all();
}

std::uint64_t Adapter::first_owned_by(Owner owner) noexcept {
    const platform::MutexGuard guard(control_);
    for (const Unit& unit : units_)
        if (unit.owner == owner && unit.disk.state() != DiskState::gone)
            return unit.disk.connection_id();
    return 0;
}

std::uint64_t Adapter::first_present() noexcept {
    const platform::MutexGuard guard(control_);
    for (const Unit& unit : units_)
        if (unit.disk.state() != DiskState::gone) return unit.disk.connection_id();
    return 0;
}

void Adapter::adopt(Unit& unit, Owner owner) noexcept {
    Owner nobody = nullptr;
    if (unit.owner.load(std::memory_order_relaxed) == nobody)
        unit.owner.compare_exchange_strong(nobody, owner);
}

void Adapter::await_creations() noexcept {
    const platform::MutexGuard guard(control_);
}

}  // namespace wnbd::engine
