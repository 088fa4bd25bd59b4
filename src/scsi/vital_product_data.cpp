// SPDX-License-Identifier: LGPL-2.1-or-later
// INQUIRY, vital product data pages (SPC-4, SBC-3).
#include "scsi/decoder.h"
#include "scsi/limits.h"
#include "scsi/text.h"

namespace wnbd::scsi {
namespace {

constexpr std::size_t designator_length_max = 255;  // its length field has one byte
constexpr std::size_t vendor_length = 8;

/// What a page says after its length field.
using PageBody = void (*)(const Disk& disk, ByteWriter& out) noexcept;

struct Page {
    std::uint8_t code;
    PageBody write_body;
};

void write_supported_pages(const Disk& disk, ByteWriter& out) noexcept;

// SPC-4, unit serial number: spaces when there is no serial number. Bytes above 7Fh stay as they
// are: a serial number made of a UTF-8 name must remain a different one from its neighbour's.
void write_serial(std::span<const char> serial, ByteWriter& out) noexcept {
    for (const char character : serial) {
        const auto byte = static_cast<std::uint8_t>(character);
        out.byte(byte < 0x20 || byte == 0x7F ? '?' : byte);
    }
}

void write_unit_serial_number(const Disk& disk, ByteWriter& out) noexcept {
    const auto serial = bounded_text(disk.serial);
    write_serial(serial, out);
    if (serial.empty()) out.fill(8, ' ');
}

/// Bytes of a NAA designator (SPC-4), by the type in its first four bits; 0 for a type that
/// does not exist.
std::size_t naa_length(const Disk& disk) noexcept {
    if (!disk.has_naa) return 0;
    switch (disk.naa[0] >> 4) {
        case 2:
        case 3:
        case 5: return 8;
        case 6: return 16;
        default: return 0;
    }
}

// SPC-4, device identification. A disk without a serial number gets no T10 designator: it would be
// the same for all of them, and a multipath driver would take them for one disk.
void write_device_identification(const Disk& disk, ByteWriter& out) noexcept {
    if (const std::size_t length = naa_length(disk); length != 0) {
        out.byte(0x01);  // binary
        out.byte(0x03);  // the logical unit's, NAA
        out.byte(0);
        out.byte(static_cast<std::uint8_t>(length));
        out.bytes(std::span(disk.naa).first(length));
    }
    auto serial = bounded_text(disk.serial);
    if (serial.empty()) return;
    // Names that long usually differ at their end.
    constexpr std::size_t serial_length_max = designator_length_max - vendor_length;
    if (serial.size() > serial_length_max) serial = serial.last(serial_length_max);
    const bool ascii = std::all_of(serial.begin(), serial.end(), [](char character) {
        return static_cast<std::uint8_t>(character) < 0x80;
    });
    out.byte(ascii ? 0x02 : 0x03);  // ASCII or UTF-8
    out.byte(0x01);                 // the logical unit's, T10 vendor identification
    out.byte(0);
    out.byte(static_cast<std::uint8_t>(vendor_length + serial.size()));
    write_ascii_field(out, bounded_text(disk.vendor), vendor_length);
    write_serial(serial, out);
}

// SBC-3, block limits. Offsets in the comments count from the page's first byte.
void write_block_limits(const Disk& disk, ByteWriter& out) noexcept {
    const std::uint32_t granularity = physical_block_blocks(disk);
    constexpr std::uint32_t ugavalid = 0x80000000U;
    out.byte(0x01);  // 4: WSNZ, WRITE SAME refuses zero blocks
    out.byte(max_compare_and_write_blocks);
    out.big_endian<std::uint16_t>(static_cast<std::uint16_t>(granularity));
    out.big_endian<std::uint32_t>(transfer_blocks_max(disk));
    out.big_endian<std::uint32_t>(step_blocks_max(disk));  // 12: OPTIMAL TRANSFER LENGTH
    out.big_endian<std::uint32_t>(0);                      // 16: PRE-FETCH knows no limit
    if (disk.unmap_supported) {
        out.big_endian<std::uint32_t>(unmap_blocks_unlimited);  // 20
        out.big_endian<std::uint32_t>(max_unmap_descriptors);
        out.big_endian<std::uint32_t>(granularity);  // 28: OPTIMAL UNMAP GRANULARITY
        out.big_endian<std::uint32_t>(ugavalid);     // 32: aligned at LBA 0
    } else {
        out.fill(16);
    }
    out.big_endian<std::uint64_t>(write_same_blocks_max(disk));  // 36
    out.fill(20);
}

// SBC-3, block device characteristics. FUAB: SYNCHRONIZE CACHE and FUA mean what SBC-3 says. VBULS:
// a comparing VERIFY reads unmapped blocks like others.
void write_block_device_characteristics(const Disk& /*disk*/, ByteWriter& out) noexcept {
    out.big_endian<std::uint16_t>(0x0001);  // MEDIUM ROTATION RATE: does not rotate
    out.fill(2);
    out.byte(0x03);  // FUAB, VBULS
    out.fill(55);
}

// SBC-3, logical block provisioning.
void write_logical_block_provisioning(const Disk& disk, ByteWriter& out) noexcept {
    constexpr std::uint8_t lbpu = 0x80;
    constexpr std::uint8_t lbpws = 0x40;
    constexpr std::uint8_t lbpws10 = 0x20;
    constexpr std::uint8_t lbprz = 0x04;
    constexpr std::uint8_t thin_provisioned = 0x02;
    out.byte(0);  // no thresholds
    std::uint8_t flags = 0;
    if (disk.unmap_supported) flags = lbpu | lbpws | lbpws10;
    if (disk.unmap_supported && disk.unmap_reads_zeroes) flags |= lbprz;
    out.byte(flags);
    out.byte(disk.unmap_supported ? thin_provisioned : 0);
    out.byte(0);
}

constexpr Page pages[] = {
    {0x00, write_supported_pages},
    {0x80, write_unit_serial_number},
    {0x83, write_device_identification},
    {0xB0, write_block_limits},
    {0xB1, write_block_device_characteristics},
    {0xB2, write_logical_block_provisioning},
};

void write_supported_pages(const Disk& /*disk*/, ByteWriter& out) noexcept {
    for (const Page& page : pages)
        out.byte(page.code);  // ascending
}

}  // namespace

Decision decode_vital_product_data(const Context& context) noexcept {
    const std::uint8_t code = context.cdb[2];
    for (const Page& page : pages) {
        if (page.code != code) continue;
        ByteWriter measure({});
        page.write_body(context.disk, measure);
        ByteWriter out(context.room(context.field<std::uint16_t>(3)));
        out.byte(0x00);
        out.byte(code);
        out.big_endian<std::uint16_t>(static_cast<std::uint16_t>(measure.length()));
        page.write_body(context.disk, out);
        return good(out.stored());
    }
    return invalid_field();
}

}  // namespace wnbd::scsi
