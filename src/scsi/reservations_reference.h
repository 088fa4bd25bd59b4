// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests and fuzzers: the rules of reservations once more, told as the standard tells them, with
// maps and without regard to cost. What it says is held against scsi::Reservations.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "scsi/reservation_test_commands.h"

namespace wnbd::scsi {

class ReferenceReservations {
  public:
    struct Out {
        Nexus from;
        unsigned action;  // of PERSISTENT RESERVE OUT, up to PREEMPT AND ABORT and 6
        unsigned scope_type;
        std::uint64_t key, new_key;
    };
    struct Result {
        std::uint32_t outcome = is_good;
        std::set<std::pair<unsigned, Nexus>> told;  // ASCQ of 2Ah, and who gets it
        std::set<Nexus> aborted;
    };

    Result out(const Out& command) {
        result_ = {};
        result_.outcome = decide(command);
        if (result_.outcome != is_good) result_.told.clear(), result_.aborted.clear();
        return result_;
    }

    std::uint32_t reserve(Nexus from) {
        if (exempt(from)) return is_good;
        if (!keys.empty() || (plain && *plain != from)) return is_conflict;
        plain = from;
        return is_good;
    }
    std::uint32_t release(Nexus from) {
        if (exempt(from)) return is_good;
        if (!keys.empty()) return is_conflict;
        if (plain == from) plain.reset();
        return is_good;
    }

    /// Columns of the standard's table for a command that reads, and one that writes.
    [[nodiscard]] bool excludes(Nexus from, bool writes) const {
        if (plain) return *plain != from;
        switch (type) {
            case 0: return false;
            case 1: return writes && holder != from;
            case 3: return holder != from;
            case 5:
            case 7: return writes && !keys.contains(from);
            default: return !keys.contains(from);
        }
    }

    [[nodiscard]] bool everybody_holds() const { return type == 7 || type == 8; }

    std::map<Nexus, std::uint64_t> keys;
    std::optional<Nexus> holder;  // types with a single one
    std::optional<Nexus> plain;
    unsigned type = 0;
    std::uint32_t generation = 0;

  private:
    static bool valid(unsigned scope_type) {
        return std::ranges::find(all_reservation_types, scope_type) !=
               std::end(all_reservation_types);
    }
    [[nodiscard]] bool holds(Nexus nexus) const {
        return keys.contains(nexus) && (everybody_holds() || holder == nexus);
    }
    /// CRH: may write under the present reservation.
    [[nodiscard]] bool exempt(Nexus nexus) const { return type != 0 && !excludes(nexus, true); }

    void tell_others(unsigned ascq, Nexus but) {
        for (const auto& [nexus, key] : keys)
            if (nexus != but) result_.told.emplace(ascq, nexus);
    }
    void vacate() {
        type = 0;
        holder.reset();
    }

    std::uint32_t decide(const Out& c) {
        if (c.action == 1 && !valid(c.scope_type)) return is_invalid_field;
        if (plain) return is_conflict;
        const bool known = keys.contains(c.from);
        if (c.action == 0) {
            const std::uint64_t expected = known ? keys[c.from] : 0;
            if (c.key != expected) return is_conflict;
        }
        if (c.action == 0 || c.action == 6) return enroll(c, known);
        if (!known || keys[c.from] != c.key) return is_conflict;
        switch (c.action) {
            case 1:
                if (type == 0) {
                    type = c.scope_type;
                    if (!everybody_holds()) holder = c.from;
                    return is_good;
                }
                return holds(c.from) && type == c.scope_type ? is_good : is_conflict;
            case 2:
                if (type == 0 || !holds(c.from)) return is_good;
                if (c.scope_type != type) return 0x052604;
                if (type >= 5) tell_others(4, c.from);
                vacate();
                return is_good;
            case 3:
                tell_others(3, c.from);
                keys.clear();
                vacate();
                ++generation;
                return is_good;
            default: return preempt(c);
        }
    }

    std::uint32_t enroll(const Out& c, bool known) {
        if (c.new_key != 0) {
            if (!known && keys.size() == max_registrants) return 0x055504;
            keys[c.from] = c.new_key;
        } else if (!known) {
            return is_good;
        } else {
            keys.erase(c.from);
            if (holder == c.from) {
                if (type >= 5) tell_others(4, c.from);
                vacate();
            }
            if (keys.empty()) vacate();
        }
        ++generation;
        return is_good;
    }

    std::uint32_t preempt(const Out& c) {
        if (c.new_key == 0 && !everybody_holds()) return is_invalid_list;
        const bool replaces =
            everybody_holds() ? c.new_key == 0 : holder && keys[*holder] == c.new_key;
        if (replaces && !valid(c.scope_type)) return is_invalid_field;
        std::set<Nexus> victims;
        for (const auto& [nexus, key] : keys)
            if (key == c.new_key || (replaces && everybody_holds())) victims.insert(nexus);
        if (replaces) victims.erase(c.from);
        if (!replaces && victims.empty()) return is_conflict;
        for (const Nexus nexus : victims) {
            keys.erase(nexus);
            if (nexus == c.from) continue;
            result_.told.emplace(5, nexus);
            if (c.action == 5) result_.aborted.insert(nexus);
        }
        if (replaces) {
            if (type != c.scope_type) tell_others(4, c.from);
            vacate();
            type = c.scope_type;
            if (!everybody_holds()) holder = c.from;
        }
        if (keys.empty()) vacate();
        ++generation;
        return is_good;
    }

    Result result_;
};

/// A unit and its reference side by side: tells the first thing in which they differ.
class ReservationsCompared {
  public:
    /// PERSISTENT RESERVE OUT. Empty when both agree.
    const char* out(const ReferenceReservations::Out& command) {
        const auto expected = reference.out(command);
        const auto result =
            unit.out(command.from, static_cast<ActionOut>(command.action),
                     static_cast<std::uint8_t>(command.scope_type), command.key, command.new_key);
        if (result != expected.outcome) return "the outcome";
        std::set<std::pair<unsigned, Nexus>> told;
        const auto collect = [&](unsigned ascq, const NexusSet& nexuses) {
            nexuses.for_each([&](Nexus nexus) { told.emplace(ascq, nexus); });
        };
        collect(3, unit.consequences.reservations_preempted);
        collect(4, unit.consequences.reservations_released);
        collect(5, unit.consequences.registrations_preempted);
        if (told != expected.told) return "who is told what";
        std::set<Nexus> aborted;
        unit.consequences.aborted.for_each([&](Nexus nexus) { aborted.insert(nexus); });
        if (aborted != expected.aborted) return "whose commands are aborted";
        return state();
    }

    const char* plain(Nexus from, bool reserve) {
        const Bytes cdb{static_cast<std::uint8_t>(reserve ? 0x16 : 0x17), 0, 0, 0, 0, 0};
        const auto expected = reserve ? reference.reserve(from) : reference.release(from);
        if (unit.run(from, cdb) != expected) return "the outcome of RESERVE or RELEASE";
        return state();
    }

    const char* lose(Nexus nexus) {
        unit.reservations.lose(nexus);
        if (reference.plain == nexus) reference.plain.reset();
        return state();
    }

    SharedUnit unit;
    ReferenceReservations reference;

  private:
    const char* state() {
        for (unsigned nexus = 0; nexus < max_nexuses; ++nexus) {
            const auto id = static_cast<Nexus>(nexus);
            if (unit.reservations.registered(id) != reference.keys.contains(id))
                return "who is registered";
            if (unit.reservations.conflicts(id, Access::reads) != reference.excludes(id, false))
                return "who may read";
            if (unit.reservations.conflicts(id, Access::writes) != reference.excludes(id, true))
                return "who may write";
        }
        return reference.plain ? nullptr : reports();
    }

    const char* reports() {
        const Bytes full = unit.in(ActionIn::read_full_status);
        if (full.size() != 8 + 48 * reference.keys.size()) return "the length of the full status";
        if (load_big_endian<std::uint32_t>(full.data()) != reference.generation)
            return "the generation";
        for (std::size_t at = 8; at < full.size(); at += 48) {
            const std::uint8_t* const item = &full[at];
            const auto found = reference.keys.find(item[35]);
            if (found == reference.keys.end()) return "a name";
            if (load_big_endian<std::uint64_t>(item) != found->second) return "a key";
            const bool holds = reference.everybody_holds() || reference.holder == found->first;
            if ((item[12] & 1) != (holds ? 1 : 0)) return "a holder";
            if (item[13] != (holds ? reference.type : 0)) return "a holder's type";
        }
        if (unit.held_type() != reference.type) return "the type";
        return nullptr;
    }
};

}  // namespace wnbd::scsi
