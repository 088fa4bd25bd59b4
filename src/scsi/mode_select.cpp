// SPDX-License-Identifier: LGPL-2.1-or-later
// MODE SELECT (SPC-4). No field of this disk can be changed, so that a parameter list is
// welcome when it asks for what already is, and refused otherwise.
#include "base/byte_reader.h"
#include "scsi/decoder.h"
#include "scsi/mode_pages.h"

namespace wnbd::scsi {
namespace {

/// What is wrong with a list; AdditionalSense::none when nothing is.
using Fault = AdditionalSense;

Fault check_block_descriptor(const Context& context,
                             std::span<const std::uint8_t> descriptor) noexcept {
    if (descriptor.empty()) return Fault::none;
    const bool is_long = descriptor.size() == long_block_descriptor_length;
    const std::uint64_t blocks = is_long ? load_big_endian<std::uint64_t>(descriptor.data())
                                         : load_big_endian<std::uint32_t>(descriptor.data());
    const std::uint32_t block_size = is_long
                                         ? load_big_endian<std::uint32_t>(descriptor.data() + 12)
                                         : load_big_endian_24(descriptor.data() + 5);
    // SBC-3, block descriptors: zero blocks keeps the capacity, all ones asks for the largest,
    // which it is.
    const std::uint64_t largest = is_long ? UINT64_MAX : UINT32_MAX;
    const bool same_blocks = blocks == 0 || blocks == largest || blocks == context.block_count;
    if (!same_blocks || block_size != context.disk.block_size) {
        return Fault::invalid_field_in_parameter_list;
    }
    return Fault::none;
}

Fault check_page(const Context& context, ByteReader& list) noexcept {
    const auto header = list.take(2);
    if (header.empty()) return Fault::parameter_list_length_error;
    // PS is reserved here, but comes back from those who send what MODE SENSE gave. SPF and code
    // together choose the page; no page of ours has SPF.
    const std::uint8_t code = header[0] & 0x7F;
    std::uint8_t current[mode_pages_length_max];
    ByteWriter out(current);
    if (code >= all_mode_pages || !write_mode_pages(context.disk, code, false, out)) {
        return Fault::invalid_field_in_parameter_list;
    }
    if (header[1] != out.length() - 2) return Fault::invalid_field_in_parameter_list;
    const auto body = list.take(header[1]);
    if (body.empty()) return Fault::parameter_list_length_error;
    if (!std::equal(body.begin(), body.end(), current + 2)) {
        return Fault::invalid_field_in_parameter_list;
    }
    return Fault::none;
}

Fault check_list(const Context& context, bool six, ByteReader list) noexcept {
    const auto header = list.take(six ? 4 : 8);
    if (header.empty()) return Fault::parameter_list_length_error;
    // MODE DATA LENGTH is reserved for MODE SELECT, WP ignored (SBC-3).
    const std::uint8_t medium_type = six ? header[1] : header[2];
    const bool long_lba = !six && (header[4] & 0x01) != 0;
    const std::size_t length = six ? header[3] : load_big_endian<std::uint16_t>(header.data() + 6);
    const std::size_t expected =
        long_lba ? long_block_descriptor_length : short_block_descriptor_length;
    if (medium_type != 0 || (length != 0 && length != expected)) {
        return Fault::invalid_field_in_parameter_list;
    }
    const auto descriptor = list.take(length);
    if (!list.ok()) return Fault::parameter_list_length_error;

    Fault fault = check_block_descriptor(context, descriptor);
    while (fault == Fault::none && list.remaining() > 0)
        fault = check_page(context, list);
    return fault;
}

}  // namespace

Decision decode_mode_select(const Context& context) noexcept {
    constexpr std::uint8_t page_format = 0x10;
    constexpr std::uint8_t save_pages = 0x01;
    const bool six = context.cdb.size() == 6;
    const std::size_t length = six ? context.cdb[4] : context.field<std::uint16_t>(7);
    if ((context.cdb[1] & save_pages) != 0) return invalid_field();  // SPC-4: not implemented
    if (length == 0) return good();
    if ((context.cdb[1] & page_format) == 0) return invalid_field();  // vendor-specific pages
    if (length > context.buffer().size()) return invalid_field();

    const auto list = context.buffer().first(length);
    const Fault fault = check_list(context, six, ByteReader(list));
    if (fault != Fault::none) return illegal(fault);
    return good(length);
}

}  // namespace wnbd::scsi
