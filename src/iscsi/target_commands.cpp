// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/target_commands.h"

#include <algorithm>

#include "base/big_endian.h"
#include "base/byte_writer.h"

namespace wnbd::iscsi {
namespace {

constexpr std::uint8_t request_sense_code = 0x03;
constexpr std::uint8_t inquiry_code = 0x12;
constexpr std::uint8_t report_luns_code = 0xA0;

scsi::Answer refuse(scsi::AdditionalSense why) noexcept {
    return scsi::refuse(scsi::SenseKey::illegal_request, why);
}

scsi::Answer good(std::size_t transferred) noexcept {
    return {scsi::Status::good, scsi::Sense{}, transferred};
}

/// SPC-4 6.33.
scsi::Answer report_luns(std::size_t unit_count, std::span<const std::uint8_t> cdb,
                         std::span<std::uint8_t> room) noexcept {
    enum SelectReport : std::uint8_t { addressable = 0, well_known = 1, all = 2 };
    constexpr std::size_t entry = 8;
    const std::uint8_t select = cdb[2];
    if (select > all) return refuse(scsi::AdditionalSense::invalid_field_in_cdb);
    const std::size_t count = select == well_known ? 0 : unit_count;
    const std::size_t allocation = load_big_endian<std::uint32_t>(&cdb[6]);
    ByteWriter out(room.first(std::min(allocation, room.size())));
    out.big_endian(static_cast<std::uint32_t>(count * entry));
    out.fill(4);
    for (std::size_t unit = 0; unit < count; ++unit) {
        out.big_endian(static_cast<std::uint16_t>(unit));  // peripheral device addressing
        out.fill(entry - 2);
    }
    return good(out.stored());
}

/// SPC-4 6.6.1: no device can be here.
scsi::Answer inquiry_of_nothing(std::span<const std::uint8_t> cdb,
                                std::span<std::uint8_t> room) noexcept {
    constexpr std::uint8_t evpd = 0x01;
    constexpr std::size_t length = 36;
    if ((cdb[1] & evpd) != 0 || cdb[2] != 0)
        return refuse(scsi::AdditionalSense::invalid_field_in_cdb);
    const std::size_t allocation = load_big_endian<std::uint16_t>(&cdb[3]);
    ByteWriter out(room.first(std::min(allocation, room.size())));
    out.byte(0x7F);  // peripheral qualifier 3, device type unknown
    out.byte(0);
    out.byte(0x06);  // SPC-4
    out.byte(0x02);  // response data format
    out.byte(length - 5);
    out.fill(3);
    out.fill(length - 8, ' ');
    return good(out.stored());
}

/// SPC-4 6.39: the sense data is the parameter data.
scsi::Answer sense_of_nothing(std::span<const std::uint8_t> cdb,
                              std::span<std::uint8_t> room) noexcept {
    constexpr std::uint8_t descriptor_format = 0x01;
    const scsi::Sense sense(scsi::SenseKey::illegal_request,
                            scsi::AdditionalSense::logical_unit_not_supported);
    const auto out = room.first(std::min<std::size_t>(cdb[4], room.size()));
    return good((cdb[1] & descriptor_format) != 0 ? scsi::encode_descriptor_sense(sense, out)
                                                  : scsi::encode_fixed_sense(sense, out));
}

}  // namespace

bool is_for_target(const LogicalUnit* unit, std::span<const std::uint8_t> cdb) noexcept {
    return unit == nullptr || cdb[0] == report_luns_code;
}

scsi::Answer answer_for_target(bool unit_there, std::size_t unit_count,
                               std::span<const std::uint8_t> cdb,
                               std::span<std::uint8_t> room) noexcept {
    // CONTROL lies in a CDB's last byte; NACA is asked for of nobody who has NORMACA.
    constexpr std::uint8_t naca = 0x04;
    const auto asks_naca = [&](std::size_t control) { return (cdb[control] & naca) != 0; };
    switch (cdb[0]) {
        case report_luns_code:
            if (asks_naca(11)) break;
            return report_luns(unit_count, cdb, room);
        case inquiry_code:
            if (unit_there || asks_naca(5)) break;
            return inquiry_of_nothing(cdb, room);
        case request_sense_code:
            if (unit_there || asks_naca(5)) break;
            return sense_of_nothing(cdb, room);
        default: return refuse(scsi::AdditionalSense::logical_unit_not_supported);
    }
    return refuse(scsi::AdditionalSense::invalid_field_in_cdb);
}

}  // namespace wnbd::iscsi
