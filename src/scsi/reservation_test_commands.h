// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests: CDBs and parameter lists about reservations, and what PERSISTENT RESERVE IN says.
#pragma once

#include "scsi/reservation_actions.h"
#include "scsi/reservations.h"
#include "scsi/test_cdb.h"

namespace wnbd::scsi {

constexpr std::uint8_t all_reservation_types[] = {1, 3, 5, 6, 7, 8};

inline Bytes reserve_out_cdb(ActionOut action, std::uint8_t scope_type, std::uint32_t length = 24) {
    Bytes cdb{0x5F, static_cast<std::uint8_t>(action), scope_type, 0, 0, 0, 0, 0, 0, 0};
    store_big_endian(&cdb[5], length);
    return cdb;
}

inline Bytes reserve_in_cdb(ActionIn action, std::uint16_t allocation = 0xFFFF) {
    Bytes cdb{0x5E, static_cast<std::uint8_t>(action), 0, 0, 0, 0, 0, 0, 0, 0};
    store_big_endian(&cdb[7], allocation);
    return cdb;
}

inline Bytes reservation_list(std::uint64_t key, std::uint64_t service_action_key,
                              std::uint8_t bits = 0) {
    Bytes list(24);
    store_big_endian(&list[0], key);
    store_big_endian(&list[8], service_action_key);
    list[20] = bits;
    return list;
}

struct TestNames final : NexusNames {};

/// Several initiators at one disk that keeps its reservations itself. Block commands are decided,
/// not carried out.
class SharedUnit {
  public:
    /// Status and sense as outcome() has them; is_block_request for what would reach the storage.
    std::uint32_t run(Nexus nexus, const Bytes& cdb, Bytes data = {}) {
        if (cdb[0] != 0x5E) consequences = {};
        const Command command{cdb, data, data.size(), nexus};
        const Decision decision = decode(disk, 1000, command);
        const auto* const about = std::get_if<ReservationCommand>(&decision);
        if (about == nullptr) {
            const bool excluded = reservations.conflicts(nexus, access_of(disk, cdb));
            return excluded ? is_conflict : outcome(decision);
        }
        if (about->kind == ReservationCommand::Kind::persistent_in) {
            const Answer answer = reservations.report(*about, TestNames());
            data.resize(answer.transferred);
            reply = data;
            return outcome(answer);
        }
        return outcome(reservations.change(nexus, *about, consequences));
    }

    std::uint32_t out(Nexus nexus, ActionOut action, std::uint8_t type, std::uint64_t key,
                      std::uint64_t service_action_key = 0, std::uint8_t bits = 0) {
        return run(nexus, reserve_out_cdb(action, type),
                   reservation_list(key, service_action_key, bits));
    }
    std::uint32_t join(Nexus nexus, std::uint64_t key) {
        return out(nexus, ActionOut::register_and_ignore_existing_key, 0, 0, key);
    }
    Bytes in(ActionIn action, std::uint16_t allocation = 0xFFFF) {
        reply.clear();
        if (run(0, reserve_in_cdb(action, allocation), Bytes(8192)) != is_good) reply.clear();
        return reply;
    }
    std::uint32_t generation() {
        return load_big_endian<std::uint32_t>(in(ActionIn::read_keys).data());
    }
    /// TYPE of the reservation that is held; 0 for none.
    std::uint8_t held_type() {
        const Bytes data = in(ActionIn::read_reservation);
        return data.size() < 24 ? 0 : data[21];
    }

    Disk disk;
    Reservations reservations;
    Consequences consequences;  // of the last command but PERSISTENT RESERVE IN
    Bytes reply;                // of the last PERSISTENT RESERVE IN
};

}  // namespace wnbd::scsi
