// SPDX-License-Identifier: LGPL-2.1-or-later
// INQUIRY, standard data (SPC-4).
#include "scsi/decoder.h"
#include "scsi/text.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint16_t version_sam_5 = 0x00A0;
constexpr std::uint16_t version_spc_4 = 0x0460;
constexpr std::uint16_t version_sbc_3 = 0x04C0;
constexpr std::size_t standard_inquiry_length = 96;

Decision standard_inquiry(const Context& context) noexcept {
    const Disk& disk = context.disk;
    ByteWriter out(context.room(context.field<std::uint16_t>(3)));
    out.byte(0x00);  // direct access block device, connected
    out.byte(0x00);  // RMB: the medium stays; unmapping takes the whole disk away
    out.byte(0x06);  // SPC-4
    out.byte(0x02);  // RESPONSE DATA FORMAT; no NORMACA, which is why a CDB with NACA is refused
    out.byte(standard_inquiry_length - 5);
    out.byte(0x00);  // no SCCS, ACC, target port groups, third-party copy, protection
    out.byte(0x00);
    out.byte(0x02);  // CMDQUE
    write_ascii_field(out, bounded_text(disk.vendor), 8);
    write_ascii_field(out, bounded_text(disk.product), 16);
    write_ascii_field(out, bounded_text(disk.revision), 4);
    out.fill(22);
    out.big_endian<std::uint16_t>(version_sam_5);
    out.big_endian<std::uint16_t>(version_spc_4);
    out.big_endian<std::uint16_t>(version_sbc_3);
    out.fill(standard_inquiry_length - out.length());
    return good(out.stored());
}

}  // namespace

Decision decode_inquiry(const Context& context) noexcept {
    constexpr std::uint8_t evpd = 0x01;
    constexpr std::uint8_t cmddt = 0x02;  // obsolete since SPC-3; its answer would look different
    if ((context.cdb[1] & cmddt) != 0) return invalid_field();
    if ((context.cdb[1] & evpd) != 0) return decode_vital_product_data(context);
    if (context.cdb[2] != 0) return invalid_field();  // a page code without EVPD
    return standard_inquiry(context);
}

}  // namespace wnbd::scsi
