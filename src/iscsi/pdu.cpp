// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/pdu.h"

#include <algorithm>

#include "base/big_endian.h"
#include "base/byte_reader.h"

namespace wnbd::iscsi {
namespace {

// Bits of byte 1.
constexpr std::uint8_t final_bit = 0x80;
constexpr std::uint8_t continue_bit = 0x40;
constexpr std::uint8_t transit_bit = 0x80;
constexpr std::uint8_t read_bit = 0x40;
constexpr std::uint8_t write_bit = 0x20;
constexpr std::uint8_t overflow_bit = 0x04;
constexpr std::uint8_t underflow_bit = 0x02;
constexpr std::uint8_t status_bit = 0x01;

template <typename T>
T field(HeaderView header, std::size_t at) noexcept {
    return load_big_endian<T>(header.data() + at);
}
std::uint32_t field32(HeaderView header, std::size_t at) noexcept {
    return field<std::uint32_t>(header, at);
}
template <typename T>
void put(HeaderBytes& header, std::size_t at, T value) noexcept {
    store_big_endian<T>(header.data() + at, value);
}

Sequence read_sequence(HeaderView header) noexcept {
    return {.task_tag = initiator_task_tag(header),
            .command_sn = field32(header, 24),
            .expected_status_sn = field32(header, 28),
            .immediate = is_immediate(header)};
}

/// What every PDU of a target has.
HeaderBytes begin(Opcode opcode, std::uint8_t flags, std::uint32_t task_tag, const Numbers& numbers,
                  std::uint32_t data_length = 0) noexcept {
    HeaderBytes header{};
    header[0] = static_cast<std::uint8_t>(opcode);
    header[1] = flags;
    put(header, 4, data_length & largest_segment_length);
    put(header, 16, task_tag);
    put(header, 24, numbers.status_sn);
    put(header, 28, numbers.expected_command_sn);
    put(header, 32, numbers.max_command_sn);
    return header;
}

std::uint8_t residual_bits(Residual residual) noexcept {
    switch (residual) {
        case Residual::underflow: return underflow_bit;
        case Residual::overflow: return overflow_bit;
        case Residual::none: break;
    }
    return 0;
}

}  // namespace

std::uint8_t opcode_of(HeaderView header) noexcept {
    return header[0] & 0x3F;
}
bool is_immediate(HeaderView header) noexcept {
    return (header[0] & 0x40) != 0;
}
bool is_final(HeaderView header) noexcept {
    return (header[1] & final_bit) != 0;
}
std::uint32_t additional_length(HeaderView header) noexcept {
    return header[4] * 4U;
}
std::uint32_t data_length(HeaderView header) noexcept {
    return load_big_endian_24(header.data() + 5);
}
std::uint32_t initiator_task_tag(HeaderView header) noexcept {
    return field32(header, 16);
}

AdditionalHeaders read_additional(std::span<const std::uint8_t> segments) noexcept {
    constexpr std::uint8_t extended_cdb = 1;
    constexpr std::uint8_t read_length = 2;
    AdditionalHeaders result;
    ByteReader reader(segments);
    while (reader.remaining() > 0) {
        // The length leaves out itself and the type; the whole is padded to a multiple of four.
        const std::uint32_t length = reader.big_endian<std::uint16_t>();
        const auto type = reader.big_endian<std::uint8_t>();
        const auto body = reader.take(padded(length + 3) - 3);
        bool known = reader.ok() && length >= 2;
        if (known && (type & 0x3F) == extended_cdb && result.cdb_rest.empty()) {
            result.cdb_rest = body.subspan(1, length - 1);  // after a reserved byte
        } else if (known && (type & 0x3F) == read_length && length == 5 && !result.read_length) {
            result.read_length = load_big_endian<std::uint32_t>(body.data() + 1);
        } else {
            known = false;
        }
        if (!known) return {.valid = false, .cdb_rest = {}, .read_length = {}};
    }
    return result;
}

ScsiCommandHeader read_scsi_command(HeaderView header) noexcept {
    ScsiCommandHeader command{.sequence = read_sequence(header),
                              .final = is_final(header),
                              .read = (header[1] & read_bit) != 0,
                              .write = (header[1] & write_bit) != 0,
                              .attribute = static_cast<std::uint8_t>(header[1] & 0x07),
                              .lun = field<std::uint64_t>(header, 8),
                              .expected_length = field32(header, 20),
                              .cdb = {}};
    std::copy_n(header.data() + 32, command.cdb.size(), command.cdb.data());
    return command;
}

TaskManagementHeader read_task_management(HeaderView header) noexcept {
    return {.sequence = read_sequence(header),
            .function = static_cast<std::uint8_t>(header[1] & 0x7F),
            .lun = field<std::uint64_t>(header, 8),
            .referenced_tag = field32(header, 20),
            .reference_command_sn = field32(header, 32)};
}

DataOutHeader read_data_out(HeaderView header) noexcept {
    return {.final = is_final(header),
            .task_tag = initiator_task_tag(header),
            .target_tag = field32(header, 20),
            .expected_status_sn = field32(header, 28),
            .data_sn = field32(header, 36),
            .offset = field32(header, 40)};
}

TextHeader read_text(HeaderView header) noexcept {
    return {.sequence = read_sequence(header),
            .final = is_final(header),
            .continues = (header[1] & continue_bit) != 0,
            .lun = field<std::uint64_t>(header, 8),
            .target_tag = field32(header, 20)};
}

LoginHeader read_login(HeaderView header) noexcept {
    LoginHeader login{.sequence = read_sequence(header),
                      .transit = (header[1] & transit_bit) != 0,
                      .continues = (header[1] & continue_bit) != 0,
                      .current_stage = static_cast<std::uint8_t>((header[1] >> 2) & 3),
                      .next_stage = static_cast<std::uint8_t>(header[1] & 3),
                      .version_max = header[2],
                      .version_min = header[3],
                      .isid = {},
                      .tsih = field<std::uint16_t>(header, 14),
                      .connection_id = field<std::uint16_t>(header, 20)};
    std::copy_n(header.data() + 8, login.isid.size(), login.isid.data());
    return login;
}

LogoutHeader read_logout(HeaderView header) noexcept {
    return {.sequence = read_sequence(header),
            .reason = static_cast<std::uint8_t>(header[1] & 0x7F),
            .connection_id = field<std::uint16_t>(header, 20)};
}

NopOutHeader read_nop_out(HeaderView header) noexcept {
    return {.sequence = read_sequence(header),
            .lun = field<std::uint64_t>(header, 8),
            .target_tag = field32(header, 20)};
}

HeaderBytes encode(const ScsiResponse& response) noexcept {
    auto header = begin(Opcode::scsi_response, final_bit | residual_bits(response.residual),
                        response.task_tag, response.numbers, response.data_length);
    header[2] = static_cast<std::uint8_t>(response.result);
    header[3] = response.status;
    put(header, 36, response.expected_data_sn);
    put(header, 44, response.residual_count);
    return header;
}

HeaderBytes encode(const DataIn& data) noexcept {
    std::uint8_t flags = data.final ? final_bit : 0;
    if (data.has_status) flags |= status_bit | residual_bits(data.residual);
    auto header = begin(Opcode::data_in, flags, data.task_tag, data.numbers, data.data_length);
    if (data.has_status) {
        header[3] = data.status;
        put(header, 44, data.residual_count);
    } else {
        put(header, 24, std::uint32_t{0});  // StatSN is reserved without a status (11.7.4)
    }
    put(header, 8, data.lun);
    put(header, 20, no_tag);
    put(header, 36, data.data_sn);
    put(header, 40, data.offset);
    return header;
}

HeaderBytes encode(const ReadyToTransfer& request) noexcept {
    auto header = begin(Opcode::ready_to_transfer, final_bit, request.task_tag, request.numbers);
    put(header, 8, request.lun);
    put(header, 20, request.target_tag);
    put(header, 36, request.sequence);
    put(header, 40, request.offset);
    put(header, 44, request.length);
    return header;
}

HeaderBytes encode(const TaskManagementResponse& response) noexcept {
    auto header =
        begin(Opcode::task_management_response, final_bit, response.task_tag, response.numbers);
    header[2] = static_cast<std::uint8_t>(response.response);
    return header;
}

HeaderBytes encode(const AsyncMessage& message) noexcept {
    auto header =
        begin(Opcode::async_message, final_bit, no_tag, message.numbers, message.data_length);
    put(header, 8, message.lun);
    header[36] = static_cast<std::uint8_t>(message.event);
    for (std::size_t i = 0; i < std::size(message.parameters); ++i)
        put(header, 38 + 2 * i, message.parameters[i]);
    return header;
}

HeaderBytes encode(const TextResponse& response) noexcept {
    const std::uint8_t flags =
        (response.final ? final_bit : 0) | (response.continues ? continue_bit : 0);
    auto header = begin(Opcode::text_response, flags, response.task_tag, response.numbers,
                        response.data_length);
    put(header, 20, response.target_tag);
    return header;
}

HeaderBytes encode(const LoginResponse& response) noexcept {
    const auto flags = static_cast<std::uint8_t>(
        (response.transit ? transit_bit : 0) | (response.continues ? continue_bit : 0) |
        ((response.current_stage & 3) << 2) | (response.transit ? response.next_stage & 3 : 0));
    auto header = begin(Opcode::login_response, flags, response.task_tag, response.numbers,
                        response.data_length);
    // Bytes 2 and 3, the highest and the active version, stay 0: there is no other.
    std::copy_n(response.isid.data(), response.isid.size(), header.data() + 8);
    put(header, 14, response.tsih);
    put(header, 36, static_cast<std::uint16_t>(response.status));
    return header;
}

HeaderBytes encode(const LogoutResponse& response) noexcept {
    auto header = begin(Opcode::logout_response, final_bit, response.task_tag, response.numbers);
    header[2] = static_cast<std::uint8_t>(response.result);
    put(header, 40, response.time_to_wait);
    put(header, 42, response.time_to_retain);
    return header;
}

HeaderBytes encode(const Reject& reject) noexcept {
    auto header = begin(Opcode::reject, final_bit, no_tag, reject.numbers, reject.data_length);
    header[2] = static_cast<std::uint8_t>(reject.reason);
    return header;
}

HeaderBytes encode(const NopIn& nop) noexcept {
    auto header = begin(Opcode::nop_in, final_bit, nop.task_tag, nop.numbers, nop.data_length);
    put(header, 8, nop.lun);
    put(header, 20, nop.target_tag);
    return header;
}

}  // namespace wnbd::iscsi
