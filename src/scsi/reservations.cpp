// SPDX-License-Identifier: LGPL-2.1-or-later
// Reservations: who may do what, and how that changes.
#include "scsi/reservations.h"

#include <algorithm>
#include <bit>

#include "scsi/reservation_actions.h"

namespace wnbd::scsi {
namespace {

constexpr Answer conflict{Status::reservation_conflict, Sense{}, 0};

/// Calls visit(slot) for each slot of a set.
template <typename Visit>
void for_each_slot(std::uint64_t slots, Visit visit) noexcept {
    for (; slots != 0; slots &= slots - 1)
        visit(static_cast<unsigned>(std::countr_zero(slots)));
}

bool is_exclusive_access(ReservationType type) noexcept {
    return type == ReservationType::exclusive_access ||
           type == ReservationType::exclusive_access_registrants_only ||
           type == ReservationType::exclusive_access_all_registrants;
}

}  // namespace

Reservations::Reservations() noexcept {
    std::fill(std::begin(slot_of_), std::end(slot_of_), no_slot);
}

bool Reservations::all_registrants() const noexcept {
    return type_ == ReservationType::write_exclusive_all_registrants ||
           type_ == ReservationType::exclusive_access_all_registrants;
}

bool Reservations::for_registrants() const noexcept {
    return all_registrants() || type_ == ReservationType::write_exclusive_registrants_only ||
           type_ == ReservationType::exclusive_access_registrants_only;
}

bool Reservations::holds_slot(unsigned slot) const noexcept {
    return all_registrants() || (type_ != ReservationType::none && holder_ == slot);
}

bool Reservations::holds(Nexus nexus) const noexcept {
    return registered(nexus) && holds_slot(slot_of_[nexus]);
}

bool Reservations::has_key(Nexus nexus, std::uint64_t key) const noexcept {
    return registered(nexus) && keys_[slot_of_[nexus]] == key;
}

Reservations::Slots Reservations::slots_of_key(std::uint64_t key) const noexcept {
    Slots found = 0;
    for_each_slot(used_, [&](unsigned slot) {
        if (keys_[slot] == key) found |= Slots{1} << slot;
    });
    return found;
}

NexusSet Reservations::nexuses_of(Slots slots, Nexus but) const noexcept {
    NexusSet nexuses;
    for_each_slot(slots, [&](unsigned slot) { nexuses.add(nexus_of_[slot]); });
    nexuses.remove(but);
    return nexuses;
}

bool Reservations::add(Nexus nexus, std::uint64_t key) noexcept {
    if (used_ == ~Slots{0}) return false;
    const auto slot = static_cast<std::uint8_t>(std::countr_one(used_));
    used_ |= Slots{1} << slot;
    keys_[slot] = key;
    nexus_of_[slot] = nexus;
    slot_of_[nexus] = slot;
    return true;
}

/// A reservation does not outlast its holder's registration, nor one for all registrants the last
/// of them (SPC-4 5.13.11.1).
void Reservations::remove(Slots slots) noexcept {
    for_each_slot(slots, [this](unsigned slot) { slot_of_[nexus_of_[slot]] = no_slot; });
    used_ &= ~slots;
    const bool holder_stays =
        all_registrants() ? used_ != 0 : holder_ != no_slot && (used_ >> holder_ & 1) != 0;
    if (holder_stays) return;
    type_ = ReservationType::none;
    holder_ = no_slot;
}

// SPC-4, commands allowed in the presence of various reservations; SBC-3 likewise; SPC-2 for plain
// ones.
bool Reservations::conflicts(Nexus nexus, Access access) const noexcept {
    if (access == Access::unrestricted || access == Access::reservations) return false;
    if (plainly_reserved_) return plain_holder_ != nexus;
    if (type_ == ReservationType::none || access == Access::readiness) return false;
    if (for_registrants() ? registered(nexus) : holds(nexus)) return false;
    return access == Access::writes || is_exclusive_access(type_);
}

Answer Reservations::change(Nexus from, const ReservationCommand& command,
                            Consequences& consequences) noexcept {
    using Kind = ReservationCommand::Kind;
    if (command.kind == Kind::reserve) return change_plain(from, true);
    if (command.kind == Kind::release) return change_plain(from, false);
    // SPC-2 5.5.1: the two methods do not mix, whoever asks.
    if (plainly_reserved_) return conflict;

    Answer answer;
    switch (static_cast<ActionOut>(command.service_action)) {
        case ActionOut::register_key:
            if (!has_key(from, command.key) && (registered(from) || command.key != 0)) {
                return conflict;
            }
            answer = change_registration(from, command, consequences);
            break;
        case ActionOut::register_and_ignore_existing_key:
            answer = change_registration(from, command, consequences);
            break;
        default:
            if (!has_key(from, command.key)) return conflict;
            switch (static_cast<ActionOut>(command.service_action)) {
                case ActionOut::reserve: answer = reserve(from, command); break;
                case ActionOut::release: answer = release(from, command, consequences); break;
                case ActionOut::clear: answer = clear(from, command, consequences); break;
                default: answer = preempt(from, command, consequences); break;
            }
    }
    if (answer.status == Status::good) answer.transferred = command.list_length;
    return answer;
}

/// RESERVE and RELEASE. With CRH, who may write anyway is told GOOD and nothing happens; for the
/// rest registrations and plain reservations exclude each other.
Answer Reservations::change_plain(Nexus from, bool reserve) noexcept {
    if (holds(from) || (for_registrants() && registered(from))) return {};
    if (used_ != 0) return conflict;
    const bool held_by_another = plainly_reserved_ && plain_holder_ != from;
    if (!reserve) {
        if (!held_by_another) plainly_reserved_ = false;
        return {};
    }
    if (held_by_another) return conflict;
    plainly_reserved_ = true;
    plain_holder_ = from;
    return {};
}

/// REGISTER and REGISTER AND IGNORE EXISTING KEY, once the reservation key has been looked at. A
/// key of zero unregisters.
Answer Reservations::change_registration(Nexus from, const ReservationCommand& command,
                                         Consequences& consequences) noexcept {
    const std::uint64_t key = command.service_action_key;
    if (!registered(from)) {
        if (key == 0) return {};
        if (!add(from, key)) {
            return refuse(SenseKey::illegal_request,
                          AdditionalSense::insufficient_registration_resources);
        }
    } else if (key != 0) {
        keys_[slot_of_[from]] = key;
    } else {
        // The others of a registrants only reservation lose what let them in, and are told.
        const bool tells = for_registrants();
        remove(Slots{1} << slot_of_[from]);
        if (tells && type_ == ReservationType::none) {
            consequences.reservations_released = nexuses_of(used_, from);
        }
    }
    ++generation_;
    return {};
}

Answer Reservations::reserve(Nexus from, const ReservationCommand& command) noexcept {
    const auto type = static_cast<ReservationType>(command.type);
    if (type_ != ReservationType::none) {
        return holds(from) && type_ == type ? Answer{} : conflict;
    }
    type_ = type;
    holder_ = all_registrants() ? no_slot : slot_of_[from];
    return {};
}

Answer Reservations::release(Nexus from, const ReservationCommand& command,
                             Consequences& consequences) noexcept {
    if (!holds(from)) return {};  // nothing of this initiator's to release
    if (command.scope != 0 || type_ != static_cast<ReservationType>(command.type)) {
        return refuse(SenseKey::illegal_request,
                      AdditionalSense::invalid_release_of_persistent_reservation);
    }
    if (for_registrants()) consequences.reservations_released = nexuses_of(used_, from);
    type_ = ReservationType::none;
    holder_ = no_slot;
    return {};
}

Answer Reservations::clear(Nexus from, const ReservationCommand& /*command*/,
                           Consequences& consequences) noexcept {
    consequences.reservations_preempted = nexuses_of(used_, from);
    remove(used_);
    ++generation_;
    return {};
}

/// SPC-4 5.13.11.4. Whose key is the holder's takes the reservation over; any other key only loses
/// its registrations, and scope and type are not looked at.
Answer Reservations::preempt(Nexus from, const ReservationCommand& command,
                             Consequences& consequences) noexcept {
    const std::uint64_t key = command.service_action_key;
    if (key == 0 && !all_registrants()) {
        return refuse(SenseKey::illegal_request, AdditionalSense::invalid_field_in_parameter_list);
    }
    const bool takes_over =
        all_registrants() ? key == 0 : type_ != ReservationType::none && keys_[holder_] == key;
    const std::uint8_t own = slot_of_[from];
    Slots victims = key == 0 ? used_ : slots_of_key(key);
    if (takes_over) {
        if (!valid_scope_and_type(command.scope, command.type)) {
            return refuse(SenseKey::illegal_request, AdditionalSense::invalid_field_in_cdb);
        }
        victims &= ~(Slots{1} << own);
    } else if (victims == 0) {
        return conflict;
    }
    consequences.registrations_preempted = nexuses_of(victims, from);
    if (static_cast<ActionOut>(command.service_action) == ActionOut::preempt_and_abort) {
        consequences.aborted = consequences.registrations_preempted;
    }
    const ReservationType before = type_;
    remove(victims);
    if (takes_over) {
        type_ = static_cast<ReservationType>(command.type);
        holder_ = all_registrants() ? no_slot : own;
        if (type_ != before) consequences.reservations_released = nexuses_of(used_, from);
    }
    ++generation_;
    return {};
}

}  // namespace wnbd::scsi
