// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to src/scsi: the one table of commands. decode() dispatches by it and REPORT SUPPORTED
// OPERATION CODES reports it, so that what is reported is what runs.
#pragma once

#include <cstdint>
#include <span>

#include "scsi/decoder.h"

namespace wnbd::scsi {

/// What a disk must have for a command to exist on it.
enum class Needs : std::uint8_t {
    nothing,
    unmap,
    stored_reservations,  // the storage keeps persistent reservations
    own_reservations,     // it does not, so that they are kept here
};

struct Operation {
    std::uint8_t opcode;
    std::uint8_t cdb_length;  // bytes
    bool has_service_action;
    std::uint8_t service_action;
    Needs needs;
    Access access;  // START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL: as strict as it gets
    Decoder decode;
    /// CDB USAGE DATA (SPC-4): the opcode, the service action, and a one for each bit that
    /// is looked at.
    std::uint8_t usage[16];
};

/// Ascending by opcode, then by service action.
[[nodiscard]] std::span<const Operation> all_operations() noexcept;

/// The operations that share an opcode; empty when there is none.
[[nodiscard]] std::span<const Operation> operations_of(std::uint8_t opcode) noexcept;

[[nodiscard]] bool available(const Disk& disk, const Operation& operation) noexcept;

}  // namespace wnbd::scsi
