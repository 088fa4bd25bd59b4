// SPDX-License-Identifier: LGPL-2.1-or-later
// REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-4).
#include <optional>

#include "scsi/operations.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint8_t rctd = 0x80;

// Command timeouts descriptor. Zeroes: how long a command takes depends on the storage, about which
// nothing is known.
void write_timeouts(ByteWriter& out) noexcept {
    constexpr std::uint16_t descriptor_length = 0x000A;  // of what follows
    out.big_endian<std::uint16_t>(descriptor_length);
    out.fill(descriptor_length);
}

std::size_t write_descriptors(const Disk& disk, bool timeouts, ByteWriter& out) noexcept {
    for (const Operation& operation : all_operations()) {
        if (!available(disk, operation)) continue;
        constexpr std::uint8_t servactv = 0x01;
        constexpr std::uint8_t ctdp = 0x02;
        std::uint8_t flags = operation.has_service_action ? servactv : 0;
        if (timeouts) flags |= ctdp;
        out.byte(operation.opcode);
        out.byte(0);
        out.big_endian<std::uint16_t>(operation.service_action);
        out.byte(0);
        out.byte(flags);
        out.big_endian<std::uint16_t>(operation.cdb_length);
        if (timeouts) write_timeouts(out);
    }
    return out.length();
}

Decision report_all(const Context& context, bool timeouts, std::uint32_t allocation) noexcept {
    ByteWriter measure({});
    const std::size_t length = write_descriptors(context.disk, timeouts, measure);
    ByteWriter out(context.room(allocation));
    out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(length));
    write_descriptors(context.disk, timeouts, out);
    return good(out.stored());
}

Decision report_one(const Context& context, const Operation* operation, bool timeouts,
                    std::uint32_t allocation) noexcept {
    constexpr std::uint8_t not_supported = 0x01;
    constexpr std::uint8_t as_the_standard_says = 0x03;
    constexpr std::uint8_t ctdp = 0x80;
    ByteWriter out(context.room(allocation));
    out.byte(0);
    if (operation == nullptr) {
        out.byte(not_supported);
        out.fill(2);
        return good(out.stored());
    }
    out.byte(timeouts ? as_the_standard_says | ctdp : as_the_standard_says);
    out.big_endian<std::uint16_t>(operation->cdb_length);
    out.bytes(std::span(operation->usage).first(operation->cdb_length));
    if (timeouts) write_timeouts(out);
    return good(out.stored());
}

enum ReportingOptions : std::uint8_t {
    all_commands = 0,
    without_service_action = 1,
    with_service_action = 2,
    service_action_if_any = 3,
};

}  // namespace

Decision decode_report_supported_operation_codes(const Context& context) noexcept {
    const bool timeouts = (context.cdb[2] & rctd) != 0;
    const std::uint8_t options = context.cdb[2] & 0x07;
    const std::uint8_t opcode = context.cdb[3];
    const auto service_action = context.field<std::uint16_t>(4);
    const auto allocation = context.field<std::uint32_t>(6);
    if (options == all_commands) return report_all(context, timeouts, allocation);
    constexpr std::uint8_t options_byte = 2;
    if (options > service_action_if_any) return invalid_field_at(options_byte);

    bool exists = false;
    bool has_service_action = false;
    const Operation* found = nullptr;
    for (const Operation& operation : operations_of(opcode)) {
        if (!available(context.disk, operation)) continue;
        exists = true;
        has_service_action = operation.has_service_action;
        const std::uint16_t own = has_service_action ? operation.service_action : 0;
        if (options == without_service_action || own == service_action) found = &operation;
    }
    // SPC-4, REPORTING OPTIONS: an option that does not fit the opcode is refused, an opcode or a
    // service action that does not exist is reported as such.
    if (exists && options == without_service_action && has_service_action)
        return invalid_field_at(options_byte);
    if (exists && options == with_service_action && !has_service_action)
        return invalid_field_at(options_byte);
    return report_one(context, found, timeouts, allocation);
}

Decision decode_report_supported_task_management(const Context& context) noexcept {
    constexpr std::uint8_t repd = 0x80;
    constexpr std::uint8_t abort_task = 0x80;
    constexpr std::uint8_t logical_unit_reset = 0x08;
    const bool extended = (context.cdb[2] & repd) != 0;
    constexpr std::uint8_t extended_length = 12;  // the time-outs, none of which is known
    ByteWriter out(context.room(context.field<std::uint32_t>(6)));
    out.byte(abort_task | logical_unit_reset);
    out.fill(2);
    out.byte(extended ? extended_length : 0);
    if (extended) out.fill(extended_length);
    return good(out.stored());
}

}  // namespace wnbd::scsi
