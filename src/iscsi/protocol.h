// SPDX-License-Identifier: LGPL-2.1-or-later
// The iSCSI protocol's numbers, named as RFC 7143 names them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::iscsi {

constexpr std::size_t header_length = 48;      // bytes of a basic header segment (11.2.1)
constexpr std::size_t digest_length = 4;       // of a header or data digest
constexpr std::uint32_t no_tag = 0xFFFF'FFFF;  // the reserved tag (11.2.1.8)
constexpr std::uint16_t default_port = 3260;
constexpr std::uint32_t default_segment_length =
    8192;  // MaxRecvDataSegmentLength undeclared (13.12)
constexpr std::uint32_t largest_segment_length = 0xFF'FFFF;

/// 11.2.1.2. Responses have bit 5 set.
enum class Opcode : std::uint8_t {
    nop_out = 0x00,
    scsi_command = 0x01,
    task_management_request = 0x02,
    login_request = 0x03,
    text_request = 0x04,
    data_out = 0x05,
    logout_request = 0x06,
    snack_request = 0x10,

    nop_in = 0x20,
    scsi_response = 0x21,
    task_management_response = 0x22,
    login_response = 0x23,
    text_response = 0x24,
    data_in = 0x25,
    logout_response = 0x26,
    ready_to_transfer = 0x31,
    async_message = 0x32,
    reject = 0x3F,
};

enum class Stage : std::uint8_t { security = 0, operational = 1, full_feature = 3 };  // 11.12.3

/// Class in the high byte, detail in the low one (11.13.5).
enum class LoginStatus : std::uint16_t {
    success = 0x0000,
    initiator_error = 0x0200,
    authentication_failure = 0x0201,
    authorization_failure = 0x0202,
    target_not_found = 0x0203,
    target_removed = 0x0204,
    unsupported_version = 0x0205,
    too_many_connections = 0x0206,
    missing_parameter = 0x0207,
    cannot_include_in_session = 0x0208,
    session_type_not_supported = 0x0209,
    session_does_not_exist = 0x020A,
    invalid_request = 0x020B,
    target_error = 0x0300,
    service_unavailable = 0x0301,
    out_of_resources = 0x0302,
};

/// 11.5.1
enum class TaskFunction : std::uint8_t {
    abort_task = 1,
    abort_task_set = 2,
    clear_aca = 3,
    clear_task_set = 4,
    logical_unit_reset = 5,
    target_warm_reset = 6,
    target_cold_reset = 7,
    task_reassign = 8,
};

/// 11.6.1
enum class TaskResponse : std::uint8_t {
    complete = 0,
    no_task = 1,
    no_logical_unit = 2,
    task_still_allegiant = 3,
    reassignment_not_supported = 4,
    not_supported = 5,
    authorization_failed = 6,
    rejected = 255,
};

/// 11.14.1, 11.15.1
enum class LogoutReason : std::uint8_t { close_session = 0, close_connection = 1, recovery = 2 };
enum class LogoutResult : std::uint8_t {
    success = 0,
    no_connection = 1,
    recovery_not_supported = 2,
    cleanup_failed = 3,
};

/// 11.9.1
enum class AsyncEvent : std::uint8_t {
    scsi = 0,
    logout_requested = 1,
    connection_dropped = 2,
    session_dropped = 3,
    renegotiate = 4,
};

/// 11.17.1
enum class RejectReason : std::uint8_t {
    data_digest_error = 0x02,
    snack = 0x03,
    protocol_error = 0x04,
    command_not_supported = 0x05,
    immediate_command = 0x06,
    task_in_progress = 0x07,
    invalid_data_ack = 0x08,
    invalid_pdu_field = 0x09,
    long_operation = 0x0A,
    waiting_for_logout = 0x0C,
};

/// 11.4.3
enum class CommandResult : std::uint8_t { completed = 0, target_failure = 1 };

}  // namespace wnbd::iscsi
