// SPDX-License-Identifier: LGPL-2.1-or-later
// Reservations of one logical unit as a state machine: persistent ones (SPC-4 5.13) and those of
// RESERVE and RELEASE (SPC-2 5.5.1), which stand beside them as SPC-4 says for CRH. No clock, no
// lock, no allocation: the engine keeps one per disk and guards it.
#pragma once

#include <cstdint>
#include <span>

#include "base/byte_writer.h"
#include "scsi/command.h"
#include "scsi/nexus.h"

namespace wnbd::scsi {

/// Initiators that may be registered at once; one more is told so (55h/04h).
constexpr unsigned max_registrants = 64;

/// TYPE of a persistent reservation (SPC-4 6.15.3.4).
enum class ReservationType : std::uint8_t {
    none = 0,
    write_exclusive = 1,
    exclusive_access = 3,
    write_exclusive_registrants_only = 5,
    exclusive_access_registrants_only = 6,
    write_exclusive_all_registrants = 7,
    exclusive_access_all_registrants = 8,
};

/// What a change means for initiators other than the one that made it.
struct Consequences {
    // Unit attentions (SPC-4 5.13.11): 2Ah/03h, 2Ah/04h, 2Ah/05h.
    NexusSet reservations_preempted;
    NexusSet reservations_released;
    NexusSet registrations_preempted;
    NexusSet aborted;  // whose commands end (PREEMPT AND ABORT)
};

/// Names an initiator port in READ FULL STATUS.
class NexusNames {
  public:
    /// Writes the TransportID of a nexus (SPC-4 7.6.4), a multiple of four bytes and at least 24.
    /// As it is: a SAS address of our own making, for a host whose initiators have no names. Called
    /// with no lock held, at any IRQL up to DISPATCH_LEVEL.
    virtual void write_transport_id(Nexus nexus, ByteWriter& out) const noexcept;

  protected:
    ~NexusNames() = default;
};

/// A value that may be copied: a report is made of a copy, while others change the original.
/// Not thread-safe.
class Reservations {
  public:
    Reservations() noexcept;

    /// True while anybody holds a reservation of either kind: only then can a command conflict.
    [[nodiscard]] bool any() const noexcept {
        return type_ != ReservationType::none || plainly_reserved_;
    }
    /// True when a reservation keeps this initiator from such a command. Commands about
    /// reservations never conflict here: change() and report() decide.
    [[nodiscard]] bool conflicts(Nexus nexus, Access access) const noexcept;

    /// PERSISTENT RESERVE OUT, RESERVE, RELEASE. `consequences` gets what there is to be told to
    /// whom; nothing unless the answer is GOOD.
    [[nodiscard]] Answer change(Nexus from, const ReservationCommand& command,
                                Consequences& consequences) noexcept;
    /// PERSISTENT RESERVE IN, written to command.room.
    [[nodiscard]] Answer report(const ReservationCommand& command,
                                const NexusNames& names) const noexcept;

    /// A reset of the logical unit ends what RESERVE made (SPC-2 5.5.1). Registrations stay.
    void reset() noexcept { plainly_reserved_ = false; }
    /// So does the loss of the nexus that made it.
    void lose(Nexus nexus) noexcept {
        if (plain_holder_ == nexus) plainly_reserved_ = false;
    }

    [[nodiscard]] bool registered(Nexus nexus) const noexcept { return slot_of_[nexus] != no_slot; }

  private:
    using Slots = std::uint64_t;  // a set of registrations
    static_assert(max_registrants == 64);
    static constexpr std::uint8_t no_slot = 0xFF;

    [[nodiscard]] bool all_registrants() const noexcept;
    [[nodiscard]] bool for_registrants() const noexcept;
    [[nodiscard]] bool holds(Nexus nexus) const noexcept;
    [[nodiscard]] bool holds_slot(unsigned slot) const noexcept;
    [[nodiscard]] bool has_key(Nexus nexus, std::uint64_t key) const noexcept;
    [[nodiscard]] Slots slots_of_key(std::uint64_t key) const noexcept;
    [[nodiscard]] NexusSet nexuses_of(Slots slots, Nexus but) const noexcept;

    Answer change_plain(Nexus from, bool reserve) noexcept;
    Answer change_registration(Nexus from, const ReservationCommand& command,
                               Consequences& consequences) noexcept;
    Answer reserve(Nexus from, const ReservationCommand& command) noexcept;
    Answer release(Nexus from, const ReservationCommand& command,
                   Consequences& consequences) noexcept;
    Answer clear(Nexus from, const ReservationCommand& command,
                 Consequences& consequences) noexcept;
    Answer preempt(Nexus from, const ReservationCommand& command,
                   Consequences& consequences) noexcept;
    bool add(Nexus nexus, std::uint64_t key) noexcept;
    void remove(Slots slots) noexcept;

    void report_keys(ByteWriter& out) const noexcept;
    void report_reservation(ByteWriter& out) const noexcept;
    void report_full_status(const NexusNames& names, ByteWriter& out) const noexcept;

    std::uint32_t generation_ = 0;
    ReservationType type_ = ReservationType::none;
    std::uint8_t holder_ = no_slot;  // of a type that has a single one
    bool plainly_reserved_ = false;  // by RESERVE
    Nexus plain_holder_ = 0;
    Slots used_ = 0;
    std::uint64_t keys_[max_registrants] = {};
    Nexus nexus_of_[max_registrants] = {};
    std::uint8_t slot_of_[max_nexuses];
};

}  // namespace wnbd::scsi
