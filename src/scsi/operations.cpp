// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/operations.h"

#include <array>

namespace wnbd::scsi {
namespace {

// DPO, IMMED and SELFTEST are marked as looked at, because they are accepted for what they mean: no
// cache has a retention that DPO could lower, IMMED permits to answer early but does not ask for
// it, and the self-test finds nothing to try. CONTROL is 05h everywhere: NACA and the obsolete
// LINK.
// clang-format off
constexpr Operation operations[] = {
    // TEST UNIT READY
    {0x00, 6, false, 0x00, Needs::nothing, Data::none, Access::readiness, decode_test_unit_ready,
     {0x00, 0x00, 0x00, 0x00, 0x00, 0x05}},
    // REQUEST SENSE
    {0x03, 6, false, 0x00, Needs::nothing, Data::in_byte_4, Access::unrestricted, decode_request_sense,
     {0x03, 0x01, 0x00, 0x00, 0xFF, 0x05}},
    // READ (6)
    {0x08, 6, false, 0x00, Needs::nothing, Data::in_blocks, Access::reads, decode_read,
     {0x08, 0x1F, 0xFF, 0xFF, 0xFF, 0x05}},
    // WRITE (6)
    {0x0A, 6, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write,
     {0x0A, 0x1F, 0xFF, 0xFF, 0xFF, 0x05}},
    // INQUIRY
    {0x12, 6, false, 0x00, Needs::nothing, Data::in_word_3, Access::unrestricted, decode_inquiry,
     {0x12, 0x03, 0xFF, 0xFF, 0xFF, 0x05}},
    // MODE SELECT (6)
    {0x15, 6, false, 0x00, Needs::nothing, Data::out_byte_4, Access::writes, decode_mode_select,
     {0x15, 0x11, 0x00, 0x00, 0xFF, 0x05}},
    // RESERVE (6)
    {0x16, 6, false, 0x00, Needs::own_reservations, Data::none, Access::reservations, decode_reserve,
     {0x16, 0x11, 0x00, 0x00, 0x00, 0x05}},
    // RELEASE (6)
    {0x17, 6, false, 0x00, Needs::own_reservations, Data::none, Access::reservations, decode_release,
     {0x17, 0x11, 0x00, 0x00, 0x00, 0x05}},
    // MODE SENSE (6)
    {0x1A, 6, false, 0x00, Needs::nothing, Data::in_byte_4, Access::reads, decode_mode_sense,
     {0x1A, 0x08, 0xFF, 0xFF, 0xFF, 0x05}},
    // START STOP UNIT
    {0x1B, 6, false, 0x00, Needs::nothing, Data::none, Access::writes, decode_start_stop_unit,
     {0x1B, 0x00, 0x00, 0x0F, 0xF7, 0x05}},
    // RECEIVE DIAGNOSTIC RESULTS
    {0x1C, 6, false, 0x00, Needs::nothing, Data::in_word_3, Access::reads, decode_receive_diagnostic_results,
     {0x1C, 0x01, 0xFF, 0xFF, 0xFF, 0x05}},
    // SEND DIAGNOSTIC
    {0x1D, 6, false, 0x00, Needs::nothing, Data::out_word_3, Access::writes, decode_send_diagnostic,
     {0x1D, 0xF4, 0x00, 0xFF, 0xFF, 0x05}},
    // PREVENT ALLOW MEDIUM REMOVAL
    {0x1E, 6, false, 0x00, Needs::nothing, Data::none, Access::writes, decode_prevent_allow_medium_removal,
     {0x1E, 0x00, 0x00, 0x00, 0x03, 0x05}},
    // READ CAPACITY (10)
    {0x25, 10, false, 0x00, Needs::nothing, Data::in_capacity, Access::unrestricted, decode_read_capacity_10,
     {0x25, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05}},
    // READ (10)
    {0x28, 10, false, 0x00, Needs::nothing, Data::in_blocks, Access::reads, decode_read,
     {0x28, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // WRITE (10)
    {0x2A, 10, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write,
     {0x2A, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // WRITE AND VERIFY (10)
    {0x2E, 10, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write_and_verify,
     {0x2E, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // VERIFY (10)
    {0x2F, 10, false, 0x00, Needs::nothing, Data::out_verify, Access::reads, decode_verify,
     {0x2F, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // PRE-FETCH (10)
    {0x34, 10, false, 0x00, Needs::nothing, Data::none, Access::reads, decode_prefetch,
     {0x34, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // SYNCHRONIZE CACHE (10)
    {0x35, 10, false, 0x00, Needs::nothing, Data::none, Access::writes, decode_synchronize_cache,
     {0x35, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // READ DEFECT DATA (10)
    {0x37, 10, false, 0x00, Needs::nothing, Data::in_word_7, Access::reads, decode_read_defect_data,
     {0x37, 0x00, 0x1F, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // WRITE SAME (10)
    {0x41, 10, false, 0x00, Needs::nothing, Data::out_write_same, Access::writes, decode_write_same,
     {0x41, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0x05}},
    // UNMAP
    {0x42, 10, false, 0x00, Needs::unmap, Data::out_word_7, Access::writes, decode_unmap,
     {0x42, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // MODE SELECT (10)
    {0x55, 10, false, 0x00, Needs::nothing, Data::out_word_7, Access::writes, decode_mode_select,
     {0x55, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // RESERVE (10)
    {0x56, 10, false, 0x00, Needs::own_reservations, Data::none, Access::reservations, decode_reserve,
     {0x56, 0x13, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05}},
    // RELEASE (10)
    {0x57, 10, false, 0x00, Needs::own_reservations, Data::none, Access::reservations, decode_release,
     {0x57, 0x13, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05}},
    // MODE SENSE (10)
    {0x5A, 10, false, 0x00, Needs::nothing, Data::in_word_7, Access::reads, decode_mode_sense,
     {0x5A, 0x18, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE IN, READ KEYS
    {0x5E, 10, true, 0x00, Needs::nothing, Data::in_word_7, Access::reservations, decode_persistent_reserve_in,
     {0x5E, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE IN, READ RESERVATION
    {0x5E, 10, true, 0x01, Needs::nothing, Data::in_word_7, Access::reservations, decode_persistent_reserve_in,
     {0x5E, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE IN, REPORT CAPABILITIES
    {0x5E, 10, true, 0x02, Needs::nothing, Data::in_word_7, Access::reservations, decode_persistent_reserve_in,
     {0x5E, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE IN, READ FULL STATUS
    {0x5E, 10, true, 0x03, Needs::nothing, Data::in_word_7, Access::reservations, decode_persistent_reserve_in,
     {0x5E, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, REGISTER
    {0x5F, 10, true, 0x00, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, RESERVE
    {0x5F, 10, true, 0x01, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x01, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, RELEASE
    {0x5F, 10, true, 0x02, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x02, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, CLEAR
    {0x5F, 10, true, 0x03, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x03, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, PREEMPT
    {0x5F, 10, true, 0x04, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x04, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, PREEMPT AND ABORT
    {0x5F, 10, true, 0x05, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x05, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY
    {0x5F, 10, true, 0x06, Needs::nothing, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x06, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // PERSISTENT RESERVE OUT, REGISTER AND MOVE
    {0x5F, 10, true, 0x07, Needs::stored_reservations, Data::out_long_5, Access::reservations, decode_persistent_reserve_out,
     {0x5F, 0x07, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x05}},
    // READ (16)
    {0x88, 16, false, 0x00, Needs::nothing, Data::in_blocks, Access::reads, decode_read,
     {0x88, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // COMPARE AND WRITE
    {0x89, 16, false, 0x00, Needs::nothing, Data::out_compare_and_write, Access::writes, decode_compare_and_write,
     {0x89, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0x00, 0x00, 0x00, 0xFF, 0x00, 0x05}},
    // WRITE (16)
    {0x8A, 16, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write,
     {0x8A, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // ORWRITE (16)
    {0x8B, 16, false, 0x00, Needs::combining, Data::out_blocks, Access::writes, decode_or_write,
     {0x8B, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // WRITE AND VERIFY (16)
    {0x8E, 16, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write_and_verify,
     {0x8E, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // VERIFY (16)
    {0x8F, 16, false, 0x00, Needs::nothing, Data::out_verify, Access::reads, decode_verify,
     {0x8F, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // PRE-FETCH (16)
    {0x90, 16, false, 0x00, Needs::nothing, Data::none, Access::reads, decode_prefetch,
     {0x90, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // SYNCHRONIZE CACHE (16)
    {0x91, 16, false, 0x00, Needs::nothing, Data::none, Access::writes, decode_synchronize_cache,
     {0x91, 0x02, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // WRITE SAME (16)
    {0x93, 16, false, 0x00, Needs::nothing, Data::out_write_same, Access::writes, decode_write_same,
     {0x93, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // READ CAPACITY (16)
    {0x9E, 16, true, 0x10, Needs::nothing, Data::in_long_10, Access::unrestricted, decode_read_capacity_16,
     {0x9E, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // GET LBA STATUS
    {0x9E, 16, true, 0x12, Needs::nothing, Data::in_long_10, Access::reads, decode_get_lba_status,
     {0x9E, 0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // REPORT LUNS
    {0xA0, 12, false, 0x00, Needs::nothing, Data::in_long_6, Access::unrestricted, decode_report_luns,
     {0xA0, 0x00, 0xFF, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // REPORT SUPPORTED OPERATION CODES
    {0xA3, 12, true, 0x0C, Needs::nothing, Data::in_long_6, Access::reads, decode_report_supported_operation_codes,
     {0xA3, 0x0C, 0x87, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
    {0xA3, 12, true, 0x0D, Needs::nothing, Data::in_long_6, Access::reads, decode_report_supported_task_management,
     {0xA3, 0x0D, 0x80, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // READ (12)
    {0xA8, 12, false, 0x00, Needs::nothing, Data::in_blocks, Access::reads, decode_read,
     {0xA8, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // WRITE (12)
    {0xAA, 12, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write,
     {0xAA, 0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // WRITE AND VERIFY (12)
    {0xAE, 12, false, 0x00, Needs::nothing, Data::out_blocks, Access::writes, decode_write_and_verify,
     {0xAE, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // VERIFY (12)
    {0xAF, 12, false, 0x00, Needs::nothing, Data::out_verify, Access::reads, decode_verify,
     {0xAF, 0xF6, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
    // READ DEFECT DATA (12)
    {0xB7, 12, false, 0x00, Needs::nothing, Data::in_long_6, Access::reads, decode_read_defect_data,
     {0xB7, 0x1F, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x05}},
};
// clang-format on

constexpr bool ascending() noexcept {
    for (std::size_t i = 1; i < std::size(operations); ++i) {
        const Operation& one = operations[i - 1];
        const Operation& next = operations[i];
        if (one.opcode > next.opcode) return false;
        if (one.opcode == next.opcode && one.service_action >= next.service_action) return false;
    }
    return true;
}
static_assert(ascending());

/// Where an opcode's operations begin in the table; entry 256 is the table's end.
constexpr auto starts = [] {
    std::array<std::uint8_t, 257> table{};
    std::size_t position = 0;
    for (std::size_t opcode = 0; opcode < table.size(); ++opcode) {
        while (position < std::size(operations) && operations[position].opcode < opcode)
            ++position;
        table[opcode] = static_cast<std::uint8_t>(position);
    }
    return table;
}();
static_assert(std::size(operations) < 256);

constexpr std::uint8_t service_action_mask = 0x1F;

bool fits(BufferUse use, Data data) noexcept {
    if (use == BufferUse::data_in) return !is_data_out(data);
    if (use == BufferUse::data_out) return !is_data_in(data);
    return true;
}

}  // namespace

std::span<const Operation> all_operations() noexcept {
    return operations;
}

std::span<const Operation> operations_of(std::uint8_t opcode) noexcept {
    const std::size_t first = starts[opcode];
    return all_operations().subspan(first, starts[opcode + 1U] - first);
}

bool available(const Disk& disk, const Operation& operation) noexcept {
    switch (operation.needs) {
        case Needs::unmap: return disk.unmap_supported;
        case Needs::combining: return disk.or_write_supported;
        case Needs::stored_reservations: return disk.persistent_reservations_supported;
        case Needs::own_reservations: return !disk.persistent_reservations_supported;
        case Needs::nothing: break;
    }
    return true;
}

const Operation* find_operation(const Disk& disk, std::span<const std::uint8_t> cdb,
                                bool& opcode_known) noexcept {
    opcode_known = false;
    for (const Operation& operation : operations_of(cdb[0])) {
        if (!available(disk, operation)) continue;
        opcode_known = true;
        if (!operation.has_service_action) return &operation;
        if (cdb.size() > 1 && (cdb[1] & service_action_mask) == operation.service_action) {
            return &operation;
        }
    }
    return nullptr;
}

Decision decode(const Disk& disk, std::uint64_t block_count, const Command& command) noexcept {
    constexpr std::uint8_t naca_and_link = 0x05;
    const auto cdb = command.cdb;
    if (cdb.empty()) return illegal(AdditionalSense::invalid_command_operation_code);
    bool opcode_known = false;
    const Operation* const operation = find_operation(disk, cdb, opcode_known);
    if (operation == nullptr) {
        return opcode_known ? invalid_field_at(1)  // an unknown service action
                            : illegal(AdditionalSense::invalid_command_operation_code);
    }
    if (cdb.size() < operation->cdb_length) return invalid_field();
    const auto whole = cdb.first(operation->cdb_length);
    // SAM-5 5.2: NACA needs NORMACA, which is zero. LINK would make a chain of the commands.
    if ((whole.back() & naca_and_link) != 0) return invalid_field();
    if (fits(command.buffer_use, operation->data))
        return operation->decode(Context{disk, block_count, whole, command});
    Command without_buffer = command;
    without_buffer.data = {};
    without_buffer.data_length = 0;
    return operation->decode(Context{disk, block_count, whole, without_buffer});
}

Access access_of(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept {
    constexpr std::uint8_t start_stop_unit = 0x1B;
    constexpr std::uint8_t prevent_allow_medium_removal = 0x1E;
    if (cdb.empty()) return Access::unrestricted;
    bool opcode_known = false;
    const Operation* const operation = find_operation(disk, cdb, opcode_known);
    if (operation == nullptr || cdb.size() < operation->cdb_length) return Access::unrestricted;
    // SBC-3: both are harmless in one of their forms, START and "removal allowed".
    const std::uint8_t parameters = cdb[4];
    if (cdb[0] == start_stop_unit && (parameters & 0xF1) == 0x01) return Access::unrestricted;
    if (cdb[0] == prevent_allow_medium_removal && (parameters & 0x03) == 0) {
        return Access::unrestricted;
    }
    return operation->access;
}

bool reports_unit_attention(std::span<const std::uint8_t> cdb) noexcept {
    constexpr std::uint8_t request_sense = 0x03;
    constexpr std::uint8_t inquiry = 0x12;
    constexpr std::uint8_t report_luns = 0xA0;
    if (cdb.empty()) return true;
    return cdb[0] != request_sense && cdb[0] != inquiry && cdb[0] != report_luns;
}

}  // namespace wnbd::scsi
