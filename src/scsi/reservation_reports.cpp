// SPDX-License-Identifier: LGPL-2.1-or-later
// PERSISTENT RESERVE IN (SPC-4 6.15): what it says of a logical unit's reservations.
#include <bit>

#include "scsi/reservation_actions.h"
#include "scsi/reservations.h"

namespace wnbd::scsi {
namespace {

/// SPC-4 6.15.4. Nothing outlives the disk (PTPL_C), and a registration is for one initiator at the
/// one target port there is (SIP_C, ATP_C).
void report_capabilities(ByteWriter& out) noexcept {
    constexpr std::uint8_t crh = 0x10;
    constexpr std::uint8_t tmv = 0x80;
    // TEST UNIT READY passes both kinds of reservation; MODE SENSE, RECEIVE DIAGNOSTIC RESULTS and
    // the REPORT SUPPORTED commands pass write exclusive ones.
    constexpr std::uint8_t allow_commands = 3U << 4;
    // Types, a bit each: 7, 6, 5, 3 and 1 in the first byte, 8 in the second.
    constexpr std::uint16_t all_types = 0xEA01;
    out.big_endian<std::uint16_t>(8);
    out.byte(crh);
    out.byte(tmv | allow_commands);
    out.big_endian<std::uint16_t>(all_types);
    out.fill(2);
}

}  // namespace

// SPC-4 7.6.4.7, TransportID of SAS: an address in the locally assigned NAA format, made of our
// name and the nexus.
void NexusNames::write_transport_id(Nexus nexus, ByteWriter& out) const noexcept {
    constexpr std::uint8_t sas = 0x06;
    constexpr std::uint8_t locally_assigned = 0x30;
    constexpr std::uint8_t address[] = {locally_assigned, 'W', 'N', 'B', 'D', 0, 0};
    out.byte(sas);
    out.fill(3);
    out.bytes(address);
    out.byte(nexus);
    out.fill(12);
}

void Reservations::report_keys(ByteWriter& out) const noexcept {
    for (Slots rest = used_; rest != 0; rest &= rest - 1)
        out.big_endian<std::uint64_t>(keys_[std::countr_zero(rest)]);
}

void Reservations::report_reservation(ByteWriter& out) const noexcept {
    if (type_ == ReservationType::none) return;
    // Nobody's key stands for a reservation that all registrants hold.
    out.big_endian<std::uint64_t>(all_registrants() ? 0 : keys_[holder_]);
    out.fill(5);
    out.byte(static_cast<std::uint8_t>(type_));  // of the whole logical unit: scope 0
    out.fill(2);
}

void Reservations::report_full_status(const NexusNames& names, ByteWriter& out) const noexcept {
    constexpr std::uint8_t r_holder = 0x01;
    constexpr std::uint16_t only_target_port = 1;
    for (Slots rest = used_; rest != 0; rest &= rest - 1) {
        const auto slot = static_cast<unsigned>(std::countr_zero(rest));
        const bool holder = holds_slot(slot);
        ByteWriter measure({});
        names.write_transport_id(nexus_of_[slot], measure);
        out.big_endian<std::uint64_t>(keys_[slot]);
        out.fill(4);
        out.byte(holder ? r_holder : 0);
        out.byte(holder ? static_cast<std::uint8_t>(type_) : 0);
        out.fill(4);
        out.big_endian<std::uint16_t>(only_target_port);
        out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(measure.length()));
        names.write_transport_id(nexus_of_[slot], out);
    }
}

Answer Reservations::report(const ReservationCommand& command,
                            const NexusNames& names) const noexcept {
    // SPC-2 5.5.1: the two methods do not mix.
    if (plainly_reserved_) return Answer{Status::reservation_conflict, Sense{}, 0};
    const auto action = static_cast<ActionIn>(command.service_action);
    ByteWriter out(command.room);
    if (action == ActionIn::report_capabilities) {
        report_capabilities(out);
        return Answer{Status::good, Sense{}, out.stored()};
    }
    const auto write = [&](ByteWriter& to) {
        switch (action) {
            case ActionIn::read_keys: return report_keys(to);
            case ActionIn::read_reservation: return report_reservation(to);
            default: return report_full_status(names, to);
        }
    };
    ByteWriter measure({});
    write(measure);
    out.big_endian<std::uint32_t>(generation_);
    out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(measure.length()));
    write(out);
    return Answer{Status::good, Sense{}, out.stored()};
}

}  // namespace wnbd::scsi
