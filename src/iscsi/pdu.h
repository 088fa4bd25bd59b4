// SPDX-License-Identifier: LGPL-2.1-or-later
// Basic header segments (RFC 7143, 11): what a received one says, and those that a target sends.
// Field for field, without judgement: whoever uses a field checks it. Values; no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "iscsi/protocol.h"

namespace wnbd::iscsi {

using HeaderBytes = std::array<std::uint8_t, header_length>;
using HeaderView = std::span<const std::uint8_t, header_length>;

// --- What every PDU has (11.2.1).

/// The opcode's six bits; may be none of Opcode's.
[[nodiscard]] std::uint8_t opcode_of(HeaderView header) noexcept;
[[nodiscard]] bool is_immediate(HeaderView header) noexcept;
[[nodiscard]] bool is_final(HeaderView header) noexcept;
/// Bytes of the additional header segments: a multiple of four, at most 1020.
[[nodiscard]] std::uint32_t additional_length(HeaderView header) noexcept;
/// Bytes of the data segment without padding, at most 2^24 - 1.
[[nodiscard]] std::uint32_t data_length(HeaderView header) noexcept;
/// The same with its padding to a multiple of four.
[[nodiscard]] constexpr std::uint32_t padded(std::uint32_t length) noexcept {
    return (length + 3U) & ~3U;
}
[[nodiscard]] std::uint32_t initiator_task_tag(HeaderView header) noexcept;

/// What a command's additional header segments say (11.2.2).
struct AdditionalHeaders {
    /// False: they overlap, are cut off, come twice or are of a kind that no PDU of ours has.
    bool valid = true;
    /// The CDB's bytes from the seventeenth on; empty when there are none. Points into the
    /// segments.
    std::span<const std::uint8_t> cdb_rest;
    /// A bidirectional command's expected read length.
    std::optional<std::uint32_t> read_length;
};
/// `segments`: additional_length() bytes.
[[nodiscard]] AdditionalHeaders read_additional(std::span<const std::uint8_t> segments) noexcept;

// --- Received.

/// What a request that is numbered by CmdSN has in common.
struct Sequence {
    std::uint32_t task_tag = no_tag;
    std::uint32_t command_sn = 0;
    std::uint32_t expected_status_sn = 0;
    bool immediate = false;
};

/// 11.3
struct ScsiCommandHeader {
    Sequence sequence{};
    bool final = false;
    bool read = false;
    bool write = false;
    std::uint8_t attribute = 0;  // 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA
    std::uint64_t lun = 0;       // as on the wire
    std::uint32_t expected_length = 0;
    std::array<std::uint8_t, 16> cdb{};
};
[[nodiscard]] ScsiCommandHeader read_scsi_command(HeaderView header) noexcept;

/// 11.5
struct TaskManagementHeader {
    Sequence sequence{};
    std::uint8_t function = 0;
    std::uint64_t lun = 0;
    std::uint32_t referenced_tag = no_tag;
    std::uint32_t reference_command_sn = 0;
};
[[nodiscard]] TaskManagementHeader read_task_management(HeaderView header) noexcept;

/// 11.7
struct DataOutHeader {
    bool final = false;
    std::uint32_t task_tag = no_tag;
    std::uint32_t target_tag = no_tag;
    std::uint32_t expected_status_sn = 0;
    std::uint32_t data_sn = 0;
    std::uint32_t offset = 0;
};
[[nodiscard]] DataOutHeader read_data_out(HeaderView header) noexcept;

/// 11.10
struct TextHeader {
    Sequence sequence{};
    bool final = false;
    bool continues = false;
    std::uint64_t lun = 0;
    std::uint32_t target_tag = no_tag;
};
[[nodiscard]] TextHeader read_text(HeaderView header) noexcept;

/// 11.12
struct LoginHeader {
    Sequence sequence{};
    bool transit = false;
    bool continues = false;
    std::uint8_t current_stage = 0;  // two bits each, as received
    std::uint8_t next_stage = 0;
    std::uint8_t version_max = 0;
    std::uint8_t version_min = 0;
    std::array<std::uint8_t, 6> isid{};
    std::uint16_t tsih = 0;
    std::uint16_t connection_id = 0;
};
[[nodiscard]] LoginHeader read_login(HeaderView header) noexcept;

/// 11.14
struct LogoutHeader {
    Sequence sequence{};
    std::uint8_t reason = 0;
    std::uint16_t connection_id = 0;
};
[[nodiscard]] LogoutHeader read_logout(HeaderView header) noexcept;

/// 11.18
struct NopOutHeader {
    Sequence sequence{};
    std::uint64_t lun = 0;
    std::uint32_t target_tag = no_tag;
};
[[nodiscard]] NopOutHeader read_nop_out(HeaderView header) noexcept;

// --- Sent. Data segment lengths are filled in by `data_length`; additional segments are not sent.

/// What every response that carries a status number tells (11.4.7 to 11.4.9).
struct Numbers {
    std::uint32_t status_sn = 0;
    std::uint32_t expected_command_sn = 0;
    std::uint32_t max_command_sn = 0;
};

enum class Residual : std::uint8_t { none, underflow, overflow };

/// 11.4
struct ScsiResponse {
    Numbers numbers{};
    std::uint32_t task_tag = no_tag;
    CommandResult result = CommandResult::completed;
    std::uint8_t status = 0;  // SCSI status
    Residual residual = Residual::none;
    std::uint32_t residual_count = 0;
    std::uint32_t expected_data_sn = 0;  // PDUs of data and R2T sent for the command
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const ScsiResponse& response) noexcept;

/// 11.7. With `has_status` the command's status rides on it.
struct DataIn {
    Numbers numbers{};
    std::uint64_t lun = 0;
    std::uint32_t task_tag = no_tag;
    bool final = false;
    bool has_status = false;
    std::uint8_t status = 0;
    Residual residual = Residual::none;
    std::uint32_t residual_count = 0;
    std::uint32_t data_sn = 0;
    std::uint32_t offset = 0;
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const DataIn& data) noexcept;

/// 11.8
struct ReadyToTransfer {
    Numbers numbers{};
    std::uint64_t lun = 0;
    std::uint32_t task_tag = no_tag;
    std::uint32_t target_tag = no_tag;
    std::uint32_t sequence = 0;  // R2TSN
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
};
[[nodiscard]] HeaderBytes encode(const ReadyToTransfer& request) noexcept;

/// 11.6
struct TaskManagementResponse {
    Numbers numbers{};
    std::uint32_t task_tag = no_tag;
    TaskResponse response = TaskResponse::complete;
};
[[nodiscard]] HeaderBytes encode(const TaskManagementResponse& response) noexcept;

/// 11.9
struct AsyncMessage {
    Numbers numbers{};
    std::uint64_t lun = 0;
    AsyncEvent event = AsyncEvent::scsi;
    std::uint16_t parameters[3] = {};
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const AsyncMessage& message) noexcept;

/// 11.11
struct TextResponse {
    Numbers numbers{};
    std::uint32_t task_tag = no_tag;
    std::uint32_t target_tag = no_tag;
    bool final = true;
    bool continues = false;
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const TextResponse& response) noexcept;

/// 11.13
struct LoginResponse {
    Numbers numbers{};
    std::uint32_t task_tag = no_tag;
    bool transit = false;
    bool continues = false;
    std::uint8_t current_stage = 0;
    std::uint8_t next_stage = 0;
    std::array<std::uint8_t, 6> isid{};
    std::uint16_t tsih = 0;
    LoginStatus status = LoginStatus::success;
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const LoginResponse& response) noexcept;

/// 11.15
struct LogoutResponse {
    Numbers numbers{};
    std::uint32_t task_tag = no_tag;
    LogoutResult result = LogoutResult::success;
    std::uint16_t time_to_wait = 0;    // seconds
    std::uint16_t time_to_retain = 0;  // seconds
};
[[nodiscard]] HeaderBytes encode(const LogoutResponse& response) noexcept;

/// 11.17. Its data segment is the header of what is rejected.
struct Reject {
    Numbers numbers{};
    RejectReason reason = RejectReason::protocol_error;
    std::uint32_t data_length = header_length;
};
[[nodiscard]] HeaderBytes encode(const Reject& reject) noexcept;

/// 11.19
struct NopIn {
    Numbers numbers{};
    std::uint64_t lun = 0;
    std::uint32_t task_tag = no_tag;    // of the NOP-Out that is answered
    std::uint32_t target_tag = no_tag;  // of a NOP-In that asks for an answer
    std::uint32_t data_length = 0;
};
[[nodiscard]] HeaderBytes encode(const NopIn& nop) noexcept;

}  // namespace wnbd::iscsi
