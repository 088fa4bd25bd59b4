// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/unit_identities.h"

namespace wnbd::driver {

namespace {

/// FNV-1a.
std::uint64_t hash_of(const char* text) noexcept {
    std::uint64_t hash = 0xCBF29CE484222325;
    for (; *text != '\0'; ++text)
        hash = (hash ^ static_cast<std::uint8_t>(*text)) * 0x100000001B3;
    return hash;
}

}  // namespace

void UnitIdentities::present(std::uint8_t target, engine::Unit& unit) noexcept {
    if (target >= engine::max_disks) return;
    const std::uint64_t connection_id = unit.disk.connection_id();
    const std::uint64_t serial_hash = hash_of(unit.disk.description().serial);
    const platform::SpinGuard guard(lock_);
    Entry& entry = entries_[target];
    if (entry.identity.connection_id == connection_id) return;
    const bool is_another = entry.identity.connection_id == 0 || entry.serial_hash != serial_hash;
    if (is_another) ++entry.identity.generation;
    entry.identity.connection_id = connection_id;
    entry.serial_hash = serial_hash;
}

void UnitIdentities::absent(std::uint8_t target) noexcept {
    if (target >= engine::max_disks) return;
    const platform::SpinGuard guard(lock_);
    Identity& identity = entries_[target].identity;
    if (identity.connection_id == 0) return;
    identity.connection_id = 0;
    ++identity.generation;
}

UnitIdentities::Identity UnitIdentities::current(std::uint8_t target) noexcept {
    if (target >= engine::max_disks) return {};
    const platform::SpinGuard guard(lock_);
    return entries_[target].identity;
}

}  // namespace wnbd::driver
