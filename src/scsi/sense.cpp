// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/sense.h"

#include "base/byte_writer.h"

namespace wnbd::scsi {
namespace {

/// Field pointer sense key specific data (SPC-4 4.5.2.4.2), three bytes.
void write_field_pointer(const Sense& sense, ByteWriter& out) noexcept {
    constexpr std::uint8_t sksv = 0x80;
    constexpr std::uint8_t in_cdb = 0x40;
    const bool known = sense.cdb_field != Sense::no_field;
    out.byte(known ? sksv | in_cdb : 0);
    out.big_endian<std::uint16_t>(known ? sense.cdb_field : 0);
}

}  // namespace

std::size_t encode_fixed_sense(const Sense& sense, std::span<std::uint8_t> room) noexcept {
    // SPC-4 4.5.3: INFORMATION has four bytes; what does not fit is not reported at all.
    const bool valid = sense.information_valid && sense.information <= 0xFFFFFFFFU;
    ByteWriter out(room);
    out.byte(valid ? 0xF0 : 0x70);
    out.byte(0);
    out.byte(static_cast<std::uint8_t>(sense.key));
    out.big_endian<std::uint32_t>(valid ? static_cast<std::uint32_t>(sense.information) : 0);
    out.byte(fixed_sense_length - 8);
    out.fill(4);  // COMMAND-SPECIFIC INFORMATION
    out.byte(sense.asc);
    out.byte(sense.ascq);
    out.byte(0);  // FIELD REPLACEABLE UNIT CODE
    write_field_pointer(sense, out);
    return out.stored();
}

std::size_t encode_descriptor_sense(const Sense& sense, std::span<std::uint8_t> room) noexcept {
    constexpr std::uint8_t information_descriptor_length = 12;
    constexpr std::uint8_t field_descriptor_length = 8;
    const bool field_known = sense.cdb_field != Sense::no_field;
    ByteWriter out(room);
    out.byte(0x72);
    out.byte(static_cast<std::uint8_t>(sense.key));
    out.byte(sense.asc);
    out.byte(sense.ascq);
    out.fill(3);
    out.byte(
        static_cast<std::uint8_t>((sense.information_valid ? information_descriptor_length : 0) +
                                  (field_known ? field_descriptor_length : 0)));
    if (sense.information_valid) {  // SPC-4 4.5.2.2
        out.byte(0x00);
        out.byte(information_descriptor_length - 2);
        out.byte(0x80);  // VALID
        out.byte(0);
        out.big_endian<std::uint64_t>(sense.information);
    }
    if (field_known) {  // SPC-4 4.5.2.4
        out.byte(0x02);
        out.byte(field_descriptor_length - 2);
        out.fill(2);
        write_field_pointer(sense, out);
        out.byte(0);
    }
    return out.stored();
}

}  // namespace wnbd::scsi
