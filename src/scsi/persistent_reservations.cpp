// SPDX-License-Identifier: LGPL-2.1-or-later
// PERSISTENT RESERVE IN and OUT (SPC-4), RESERVE and RELEASE (SPC-2): what their CDBs and parameter
// lists say. Storage that several hosts share keeps keys and holders itself and is asked; for all
// other disks they are kept here (reservations.h).
#include "scsi/decoder.h"
#include "scsi/reservation_actions.h"

namespace wnbd::scsi {
namespace {

constexpr std::size_t basic_list_length = 24;
constexpr std::uint8_t spec_i_pt = 0x08;

ActionOut action_of(const Context& context) noexcept {
    return static_cast<ActionOut>(context.cdb[1] & 0x1F);
}

bool looks_at_scope_and_type(ActionOut action) noexcept {
    return action == ActionOut::reserve || action == ActionOut::release ||
           action == ActionOut::preempt || action == ActionOut::preempt_and_abort ||
           action == ActionOut::register_and_move;
}

/// SPC-4, parameter list: 24 bytes, but for REGISTER with SPEC_I_PT and REGISTER AND MOVE, which
/// carry TransportIDs behind them.
bool valid_list_length(ActionOut action, std::span<const std::uint8_t> list) noexcept {
    if (list.size() < basic_list_length) return false;
    if (action == ActionOut::register_and_move) {
        return list.size() - basic_list_length == load_big_endian<std::uint32_t>(list.data() + 20);
    }
    if ((list[20] & spec_i_pt) == 0) return list.size() == basic_list_length;
    return list.size() >= basic_list_length + 4 &&
           list.size() - basic_list_length - 4 == load_big_endian<std::uint32_t>(list.data() + 24);
}

Decision ask_storage_in(const Context& context) noexcept {
    const std::size_t allocation_length = context.field<std::uint16_t>(7);
    BlockRequest request;
    request.action = Action::persistent_reserve_in;
    request.block_count = context.block_count;
    request.data_length = std::min<std::size_t>(context.room(allocation_length).size(),
                                                context.disk.max_transfer_length);
    request.reservation.service_action = context.cdb[1] & 0x1F;
    request.reservation.length = static_cast<std::uint32_t>(allocation_length);
    if (request.data_length == 0) return good();
    return request;
}

Decision ask_storage_out(const Context& context) noexcept {
    BlockRequest request;
    request.action = Action::persistent_reserve_out;
    request.block_count = context.block_count;
    request.reservation.service_action = context.cdb[1] & 0x1F;
    request.reservation.scope = context.cdb[2] >> 4;
    request.reservation.type = context.cdb[2] & 0x0F;
    request.reservation.length = context.field<std::uint32_t>(5);

    if (looks_at_scope_and_type(action_of(context)) &&
        !valid_scope_and_type(request.reservation.scope, request.reservation.type)) {
        return invalid_field();
    }
    // Who maps a disk read-only does not want its storage changed; keys are kept there.
    if (context.disk.read_only) return write_protected();
    const std::uint64_t length = request.reservation.length;
    // User space is told the length in 16 bits (WNBD_IO_REQUEST).
    constexpr std::uint64_t list_max = 0xFFFF;
    if (length > list_max || length > context.disk.max_transfer_length) {
        return illegal(AdditionalSense::parameter_list_length_error);
    }
    const auto buffer = context.buffer();
    if (length > buffer.size()) return invalid_field();
    const auto list = buffer.first(static_cast<std::size_t>(length));
    if (!valid_list_length(action_of(context), list)) {
        return illegal(AdditionalSense::parameter_list_length_error);
    }
    request.data_length = list.size();
    return request;
}

/// What REPORT CAPABILITIES denies is refused: registering others, all target ports, and keys that
/// outlive the disk. The bits are read once, for the list may change under the look.
bool asks_for_too_much(ActionOut action, std::uint8_t bits) noexcept {
    constexpr std::uint8_t all_tg_pt = 0x04;
    constexpr std::uint8_t aptpl = 0x01;
    if ((bits & spec_i_pt) != 0) return true;
    const bool registers =
        action == ActionOut::register_key || action == ActionOut::register_and_ignore_existing_key;
    return registers && (bits & (all_tg_pt | aptpl)) != 0;
}

Decision change_own(const Context& context) noexcept {
    ReservationCommand command;
    command.kind = ReservationCommand::Kind::persistent_out;
    command.service_action = context.cdb[1] & 0x1F;
    command.scope = context.cdb[2] >> 4;
    command.type = context.cdb[2] & 0x0F;
    const auto length = context.field<std::uint32_t>(5);
    // RELEASE compares them with what is held; PREEMPT looks at them only when it takes over.
    if (action_of(context) == ActionOut::reserve &&
        !valid_scope_and_type(command.scope, command.type)) {
        return invalid_field();
    }
    if (length < basic_list_length) return illegal(AdditionalSense::parameter_list_length_error);
    const auto list = context.buffer();
    if (length > list.size()) return invalid_field();
    if (asks_for_too_much(action_of(context), list[20])) {
        return illegal(AdditionalSense::invalid_field_in_parameter_list);
    }
    if (length != basic_list_length) return illegal(AdditionalSense::parameter_list_length_error);
    command.key = load_big_endian<std::uint64_t>(list.data());
    command.service_action_key = load_big_endian<std::uint64_t>(list.data() + 8);
    command.list_length = basic_list_length;
    return command;
}

// Third parties, extents and long identifiers went with SCSI-2; the rest of the CDB belongs to
// them.
Decision decode_plain(const Context& context, ReservationCommand::Kind kind) noexcept {
    constexpr std::uint8_t third_party_or_extent = 0x11;
    constexpr std::uint8_t long_id = 0x02;
    const unsigned unknown =
        context.cdb.size() == 6 ? third_party_or_extent : third_party_or_extent | long_id;
    if ((context.cdb[1] & unknown) != 0) return invalid_field();
    ReservationCommand command;
    command.kind = kind;
    return command;
}

}  // namespace

Decision decode_persistent_reserve_in(const Context& context) noexcept {
    if (context.disk.persistent_reservations_supported) return ask_storage_in(context);
    ReservationCommand command;
    command.kind = ReservationCommand::Kind::persistent_in;
    command.service_action = context.cdb[1] & 0x1F;
    command.room = context.room(context.field<std::uint16_t>(7));
    return command;
}

Decision decode_persistent_reserve_out(const Context& context) noexcept {
    return context.disk.persistent_reservations_supported ? ask_storage_out(context)
                                                          : change_own(context);
}

Decision decode_reserve(const Context& context) noexcept {
    return decode_plain(context, ReservationCommand::Kind::reserve);
}

Decision decode_release(const Context& context) noexcept {
    return decode_plain(context, ReservationCommand::Kind::release);
}

}  // namespace wnbd::scsi
