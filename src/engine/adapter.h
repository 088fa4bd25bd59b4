// SPDX-License-Identifier: LGPL-2.1-or-later
// The disks of an adapter: by address, by connection id, by name.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/abi.h"
#include "base/nt_status.h"
#include "base/result.h"
#include "engine/disk.h"
#include "engine/options.h"
#include "engine/platform.h"

namespace wnbd::engine {

constexpr std::uint8_t max_disks = 128;

/// Whoever closes this handle (in the driver: the FILE_OBJECT) takes its disks along. nullptr:
/// nobody.
using Owner = const void*;

/// A place on the bus, and the disk in it if any. Never freed while the adapter lives, so that a
/// look-up needs no lock: it takes a reference and checks that the disk is still the one it wanted.
struct Unit {
    Disk disk;
    // Written while the disk is not online, constant while it is:
    WNBD_PROPERTIES properties;
    // Guarded by the adapter's control mutex:
    std::atomic<Owner> owner{nullptr};  // fetches may adopt without the mutex
    std::uint32_t removers = 0;  // threads that remove it; until they are through it is not reused
    platform::Event gone;        // set while the unit is free
    // The initiator has been told that nothing is here, since the last disk. Free of locks.
    std::atomic<bool> vacancy_seen{true};
};

/// A reference to an online disk; empty when there was none. Released at the end of the scope.
class UnitReference {
  public:
    UnitReference() = default;
    /// Adopts a reference that Disk::acquire() gave.
    explicit UnitReference(Unit* unit) noexcept : unit_(unit) {}
    UnitReference(UnitReference&& other) noexcept : unit_(other.unit_) { other.unit_ = nullptr; }
    UnitReference(const UnitReference&) = delete;
    UnitReference& operator=(UnitReference&&) = delete;
    UnitReference& operator=(const UnitReference&) = delete;
    ~UnitReference() {
        if (unit_ != nullptr) unit_->disk.release();
    }

    /// Takes over a reference to `unit`; this one was empty.
    void adopt(Unit* unit) noexcept { unit_ = unit; }

    explicit operator bool() const noexcept { return unit_ != nullptr; }
    Unit* operator->() const noexcept { return unit_; }
    Unit& operator*() const noexcept { return *unit_; }

  private:
    Unit* unit_ = nullptr;
};

class Adapter {
  public:
    Adapter() = default;
    Adapter(const Adapter&) = delete;
    Adapter& operator=(const Adapter&) = delete;

    /// Once, before anything else. `options` say whether new disks are let in; nullptr: always.
    /// PASSIVE_LEVEL.
    void initialize(Port& port, const Options* options = nullptr) noexcept;

    // --- Any IRQL up to DISPATCH_LEVEL.

    [[nodiscard]] UnitReference find(std::uint8_t path, std::uint8_t target,
                                     std::uint8_t lun) noexcept;
    [[nodiscard]] UnitReference find(std::uint64_t connection_id) noexcept;
    /// The initiator looked for a unit at bus 0, this target, lun 0, and was told that there is
    /// none. A place is used again rather then than before, so that the next disk isn't taken for
    /// the last.
    void saw_vacancy(std::uint8_t target) noexcept;
    /// The unit's place: bus 0, this target, lun 0.
    [[nodiscard]] std::uint8_t target_of(const Unit& unit) const noexcept;

    // --- PASSIVE_LEVEL.

    /// By its name, compared byte by byte. Linear over 128 units: for control paths.
    [[nodiscard]] UnitReference find_by_name(const char* instance_name) noexcept;
    /// The online disk at a target, for walks over all of them.
    [[nodiscard]] UnitReference unit_at(std::uint8_t target) noexcept;

    /// Makes a disk from checked and terminated properties; online when this returns. Errors:
    /// shutdown_in_progress (the options let no new disks in, or the adapter goes),
    /// object_name_collision, too_many_addresses, insufficient_resources, invalid_parameter (a
    /// description that is not scsi::well_formed).
    [[nodiscard]] Result<UnitReference, nt::Status> create(const WNBD_PROPERTIES& properties,
                                                           Owner owner,
                                                           std::uint32_t max_requests) noexcept;

    /// Ends a disk and returns when it is gone, whoever began it. False when there is no such disk.
    bool remove(std::uint64_t connection_id) noexcept;
    void remove_owned_by(Owner owner) noexcept;
    void remove_all() noexcept;
    /// The adapter goes: no new disk from here on, whatever the options say, and the present ones
    /// end.
    void retire() noexcept;

    /// A serving handle becomes the owner of a disk that has none (it was made for another
    /// process).
    static void adopt(Unit& unit, Owner owner) noexcept;

    /// Returns when every create() that began before has ended: once the options let no new disk
    /// in, none comes after this.
    void await_creations() noexcept;

  private:
    [[nodiscard]] bool name_in_use(const char* instance_name) noexcept;
    [[nodiscard]] Unit* free_unit() noexcept;
    [[nodiscard]] std::uint64_t first_owned_by(Owner owner) noexcept;
    [[nodiscard]] std::uint64_t first_present() noexcept;

    Port* port_ = nullptr;
    const Options* options_ = nullptr;
    /// Guards which unit is whose. Never held while waiting for a disk to become idle.
    platform::Mutex control_;
    bool retired_ = false;  // no new disk, for good
    std::uint64_t last_connection_ = 0;
    Unit units_[max_disks];
};

}  // namespace wnbd::engine
