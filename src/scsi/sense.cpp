// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/sense.h"

#include "base/byte_writer.h"

namespace wnbd::scsi {

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
    out.fill(4);  // FIELD REPLACEABLE UNIT CODE, SKSV and what it would qualify
    return out.stored();
}

std::size_t encode_descriptor_sense(const Sense& sense, std::span<std::uint8_t> room) noexcept {
    constexpr std::uint8_t information_descriptor_length = 12;
    ByteWriter out(room);
    out.byte(0x72);
    out.byte(static_cast<std::uint8_t>(sense.key));
    out.byte(sense.asc);
    out.byte(sense.ascq);
    out.fill(3);
    out.byte(sense.information_valid ? information_descriptor_length : 0);
    if (sense.information_valid) {  // SPC-4 4.5.2.2
        out.byte(0x00);
        out.byte(information_descriptor_length - 2);
        out.byte(0x80);  // VALID
        out.byte(0);
        out.big_endian<std::uint64_t>(sense.information);
    }
    return out.stored();
}

}  // namespace wnbd::scsi
