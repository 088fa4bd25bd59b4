// SPDX-License-Identifier: LGPL-2.1-or-later
// SCSI status and sense data (SAM-5 5.3.1, SPC-4 4.5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace wnbd::scsi {

enum class Status : std::uint8_t {
    good = 0x00,
    check_condition = 0x02,
    condition_met = 0x04,
    busy = 0x08,
    reservation_conflict = 0x18,
    task_set_full = 0x28,
    task_aborted = 0x40,
};

enum class SenseKey : std::uint8_t {
    no_sense = 0x0,
    recovered_error = 0x1,
    not_ready = 0x2,
    medium_error = 0x3,
    hardware_error = 0x4,
    illegal_request = 0x5,
    unit_attention = 0x6,
    data_protect = 0x7,
    aborted_command = 0xB,
    miscompare = 0xE,
};

/// ASC in the high byte, ASCQ in the low one.
enum class AdditionalSense : std::uint16_t {
    none = 0x0000,
    logical_unit_not_ready = 0x0400,
    write_error = 0x0C00,
    unrecovered_read_error = 0x1100,
    parameter_list_length_error = 0x1A00,
    internal_target_failure = 0x4400,
    miscompare_during_verify = 0x1D00,
    invalid_command_operation_code = 0x2000,
    lba_out_of_range = 0x2100,
    invalid_field_in_cdb = 0x2400,
    logical_unit_not_supported = 0x2500,
    invalid_field_in_parameter_list = 0x2600,
    invalid_release_of_persistent_reservation = 0x2604,
    write_protected = 0x2700,
    power_on_or_reset = 0x2900,
    mode_parameters_changed = 0x2A01,
    reservations_preempted = 0x2A03,
    reservations_released = 0x2A04,
    registrations_preempted = 0x2A05,
    capacity_data_has_changed = 0x2A09,
    commands_cleared_by_another_initiator = 0x2F00,
    saving_parameters_not_supported = 0x3900,
    logical_unit_communication_failure = 0x0800,
    space_allocation_failed_write_protect = 0x2707,
    insufficient_registration_resources = 0x5504,
};

/// What a CHECK CONDITION tells. A value; encode() makes the bytes.
struct Sense {
    SenseKey key = SenseKey::no_sense;
    std::uint8_t asc = 0;
    std::uint8_t ascq = 0;
    bool information_valid = false;
    /// Of ILLEGAL REQUEST: the byte of the CDB that is wrong (SPC-4 4.5.2.4.2), where it is known.
    static constexpr std::uint8_t no_field = 0xFF;
    std::uint8_t cdb_field = no_field;
    /// Usually the first LBA or byte offset concerned. More than 32 bits need descriptor format.
    std::uint64_t information = 0;

    Sense() = default;
    constexpr Sense(SenseKey sense_key, AdditionalSense additional) noexcept
        : key(sense_key),
          asc(static_cast<std::uint8_t>(static_cast<std::uint16_t>(additional) >> 8)),
          ascq(static_cast<std::uint8_t>(static_cast<std::uint16_t>(additional))) {}
};

constexpr std::size_t fixed_sense_length = 18;

/// Fixed format, current error (SPC-4 4.5.3), truncated to `room`. An information value that does
/// not fit 32 bits is left out with VALID at zero, as the clause asks. Returns the bytes written.
std::size_t encode_fixed_sense(const Sense& sense, std::span<std::uint8_t> room) noexcept;

/// Descriptor format, current error (SPC-4 4.5.2), truncated to `room`. Returns the bytes written.
std::size_t encode_descriptor_sense(const Sense& sense, std::span<std::uint8_t> room) noexcept;

}  // namespace wnbd::scsi
