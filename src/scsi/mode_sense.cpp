// SPDX-License-Identifier: LGPL-2.1-or-later
// MODE SENSE (SPC-4).
#include "scsi/decoder.h"
#include "scsi/mode_pages.h"

namespace wnbd::scsi {
namespace {

// SBC-3, device-specific parameter. DPOFUA is always one: FUA is kept on every disk, by the
// storage, by a flush behind the write, or because nothing volatile is in between.
std::uint8_t device_specific_parameter(const Disk& disk) noexcept {
    constexpr std::uint8_t wp = 0x80;
    constexpr std::uint8_t dpofua = 0x10;
    return disk.read_only ? wp | dpofua : dpofua;
}

void write_block_descriptor(const Context& context, std::size_t length, ByteWriter& out) noexcept {
    if (length == short_block_descriptor_length) {  // short LBA
        constexpr std::uint64_t does_not_fit = 0xFFFFFFFF;
        out.big_endian<std::uint32_t>(
            static_cast<std::uint32_t>(std::min(context.block_count, does_not_fit)));
        out.big_endian<std::uint32_t>(context.disk.block_size);  // reserved byte and 24 bits
    } else if (length == long_block_descriptor_length) {         // long LBA
        out.big_endian<std::uint64_t>(context.block_count);
        out.fill(4);
        out.big_endian<std::uint32_t>(context.disk.block_size);
    }
}

}  // namespace

Decision decode_mode_sense(const Context& context) noexcept {
    const bool six = context.cdb.size() == 6;
    const bool disable_block_descriptors = (context.cdb[1] & 0x08) != 0;
    const bool long_lba_accepted = !six && (context.cdb[1] & 0x10) != 0;
    const auto page_control = static_cast<std::uint8_t>(context.cdb[2] >> 6);
    const std::uint8_t page_code = context.cdb[2] & 0x3F;
    const std::uint8_t subpage_code = context.cdb[3];
    constexpr std::uint8_t changeable_values = 1;
    constexpr std::uint8_t saved_values = 3;
    constexpr std::uint8_t all_subpages = 0xFF;

    if (page_control == saved_values) {
        return illegal(AdditionalSense::saving_parameters_not_supported);
    }
    // No page here has subpages, so that "all of them" is the page itself (SPC-4, SUBPAGE CODE).
    if (subpage_code != 0 && subpage_code != all_subpages) return invalid_field();

    std::uint8_t body[mode_pages_length_max];
    ByteWriter pages(body);
    if (!write_mode_pages(context.disk, page_code, page_control == changeable_values, pages)) {
        return invalid_field();
    }
    std::size_t descriptor_length = 0;
    if (!disable_block_descriptors) {
        descriptor_length =
            long_lba_accepted ? long_block_descriptor_length : short_block_descriptor_length;
    }

    // MODE DATA LENGTH counts what is there, not what the allocation length lets through.
    const std::size_t header_length = six ? 4 : 8;
    const std::size_t total = header_length + descriptor_length + pages.length();
    const std::uint8_t device_specific = device_specific_parameter(context.disk);
    ByteWriter out(context.room(six ? context.cdb[4] : context.field<std::uint16_t>(7)));
    if (six) {
        out.byte(static_cast<std::uint8_t>(total - 1));
        out.byte(0);  // MEDIUM TYPE
        out.byte(device_specific);
        out.byte(static_cast<std::uint8_t>(descriptor_length));
    } else {
        out.big_endian<std::uint16_t>(static_cast<std::uint16_t>(total - 2));
        out.byte(0);
        out.byte(device_specific);
        out.byte(descriptor_length == long_block_descriptor_length ? 1 : 0);  // LONGLBA
        out.byte(0);
        out.big_endian<std::uint16_t>(static_cast<std::uint16_t>(descriptor_length));
    }
    write_block_descriptor(context, descriptor_length, out);
    out.bytes(std::span(body).first(pages.length()));
    return good(out.stored());
}

}  // namespace wnbd::scsi
