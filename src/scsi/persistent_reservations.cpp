// SPDX-License-Identifier: LGPL-2.1-or-later
// PERSISTENT RESERVE IN and OUT (SPC-4), as far as they are the same for every disk.
// Keys and holders live with the storage, which several hosts share.
#include "scsi/decoder.h"

namespace wnbd::scsi {
namespace {

enum ServiceActionOut : std::uint8_t {
    register_key = 0x00,
    reserve = 0x01,
    release = 0x02,
    clear = 0x03,
    preempt = 0x04,
    preempt_and_abort = 0x05,
    register_and_ignore_existing_key = 0x06,
    register_and_move = 0x07,
};

bool looks_at_scope_and_type(std::uint8_t service_action) noexcept {
    return service_action == reserve || service_action == release || service_action == preempt ||
           service_action == preempt_and_abort || service_action == register_and_move;
}

/// SPC-4, scope and type: the whole logical unit, and the types that are not obsolete.
bool valid_scope_and_type(std::uint8_t scope, std::uint8_t type) noexcept {
    return scope == 0 && (type == 1 || type == 3 || (type >= 5 && type <= 8));
}

/// SPC-4, parameter list: 24 bytes, but for REGISTER with SPEC_I_PT and REGISTER AND MOVE, which
/// carry TransportIDs behind them.
bool valid_list_length(std::uint8_t service_action, std::span<const std::uint8_t> list) noexcept {
    constexpr std::size_t basic_length = 24;
    constexpr std::uint8_t spec_i_pt = 0x08;
    if (list.size() < basic_length) return false;
    if (service_action == register_and_move) {
        return list.size() - basic_length == load_big_endian<std::uint32_t>(list.data() + 20);
    }
    if ((list[20] & spec_i_pt) == 0) return list.size() == basic_length;
    return list.size() >= basic_length + 4 &&
           list.size() - basic_length - 4 == load_big_endian<std::uint32_t>(list.data() + 24);
}

}  // namespace

Decision decode_persistent_reserve_in(const Context& context) noexcept {
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

Decision decode_persistent_reserve_out(const Context& context) noexcept {
    BlockRequest request;
    request.action = Action::persistent_reserve_out;
    request.block_count = context.block_count;
    request.reservation.service_action = context.cdb[1] & 0x1F;
    request.reservation.scope = context.cdb[2] >> 4;
    request.reservation.type = context.cdb[2] & 0x0F;
    request.reservation.length = context.field<std::uint32_t>(5);

    if (looks_at_scope_and_type(request.reservation.service_action) &&
        !valid_scope_and_type(request.reservation.scope, request.reservation.type)) {
        return invalid_field();
    }
    // Who maps a disk read-only does not want its storage changed; keys are kept there.
    if (context.disk.read_only) return write_protected();
    const std::uint64_t length = request.reservation.length;
    if (length > context.disk.max_transfer_length) {
        return illegal(AdditionalSense::parameter_list_length_error);
    }
    const auto buffer = context.buffer();
    if (length > buffer.size()) return invalid_field();
    const auto list = buffer.first(static_cast<std::size_t>(length));
    if (!valid_list_length(request.reservation.service_action, list)) {
        return illegal(AdditionalSense::parameter_list_length_error);
    }
    request.data_length = list.size();
    return request;
}

}  // namespace wnbd::scsi
