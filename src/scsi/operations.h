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
    combining,            // the initiator's buffer is the host's to change
    stored_reservations,  // the storage keeps persistent reservations
    own_reservations,     // it does not, so that they are kept here
};

/// Which data a command moves (transfer_of()): in to the initiator, or out from it. For parameter
/// data, where in the CDB the length stands: the field's size and its first byte.
enum class Data : std::uint8_t {
    none,
    in_blocks,
    in_capacity,  // READ CAPACITY (10): eight bytes, no length in the CDB
    in_byte_4,
    in_word_3,
    in_word_7,
    in_long_6,
    in_long_10,
    out_blocks,
    out_verify,             // by BYTCHK
    out_compare_and_write,  // twice the blocks
    out_write_same,         // one block, by NDOB
    out_byte_4,
    out_word_3,
    out_word_7,
    out_long_5,
};

[[nodiscard]] constexpr bool is_data_in(Data data) noexcept {
    return data >= Data::in_blocks && data <= Data::in_long_10;
}

[[nodiscard]] constexpr bool is_data_out(Data data) noexcept {
    return data >= Data::out_blocks;
}

struct Operation {
    std::uint8_t opcode;
    std::uint8_t cdb_length;  // bytes
    bool has_service_action;
    std::uint8_t service_action;
    Needs needs;
    Data data;
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

/// The operation a CDB asks for, or nullptr; `opcode_known` tells which of the two is wrong then,
/// the operation code or the service action. `cdb` is not empty.
[[nodiscard]] const Operation* find_operation(const Disk& disk, std::span<const std::uint8_t> cdb,
                                              bool& opcode_known) noexcept;

[[nodiscard]] bool available(const Disk& disk, const Operation& operation) noexcept;

}  // namespace wnbd::scsi
