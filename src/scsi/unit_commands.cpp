// SPDX-License-Identifier: LGPL-2.1-or-later
// The commands about the logical unit itself: readiness, sense, power, removal, diagnostics, LUNs.
#include "scsi/decoder.h"

namespace wnbd::scsi {

Decision decode_test_unit_ready(const Context& /*context*/) noexcept {
    return good();
}

// SPC-4, REQUEST SENSE. Sense data travels with the status of the command it belongs to, and unit
// attentions are reported by whoever keeps them; what is left to say is NO SENSE.
Decision decode_request_sense(const Context& context) noexcept {
    constexpr std::uint8_t descriptor_format = 0x01;
    const auto room = context.room(context.cdb[4]);
    const bool descriptor = (context.cdb[1] & descriptor_format) != 0;
    const Sense no_sense{};
    return good(descriptor ? encode_descriptor_sense(no_sense, room)
                           : encode_fixed_sense(no_sense, room));
}

// SBC-3, START STOP UNIT. There is nothing to spin down. STOP is accepted, because initiators send
// it on their way to sleep and hold up the shutdown when it fails; it puts what is cached onto the
// medium, as asked, and the next access finds the disk ready again.
Decision decode_start_stop_unit(const Context& context) noexcept {
    constexpr std::uint8_t start = 0x01;
    constexpr std::uint8_t load_eject = 0x02;
    constexpr std::uint8_t no_flush = 0x04;
    enum PowerCondition : std::uint8_t { start_valid = 0, active = 1 };
    const std::uint8_t modifier = context.cdb[3] & 0x0F;
    const auto condition = static_cast<std::uint8_t>(context.cdb[4] >> 4);
    const std::uint8_t flags = context.cdb[4] & 0x0F;

    if (condition == active && modifier == 0) return good();
    if (condition != start_valid) return invalid_field();   // no such power condition here
    if ((flags & load_eject) != 0) return invalid_field();  // the medium is not removable
    const bool nothing_cached = !context.disk.flush_supported || context.disk.read_only;
    if ((flags & (start | no_flush)) != 0 || nothing_cached) return good();
    BlockRequest request;
    request.action = Action::flush;
    request.block_count = context.block_count;
    return request;
}

// SBC-3, PREVENT ALLOW MEDIUM REMOVAL: the medium cannot leave its drive anyway, so that both
// values hold.
Decision decode_prevent_allow_medium_removal(const Context& context) noexcept {
    const unsigned prevent = context.cdb[4] & 0x03;
    return prevent <= 1 ? good() : invalid_field();  // the rest is obsolete, for media changers
}

// SPC-4, SEND DIAGNOSTIC: the default self-test, which every device server must accept, though
// there is no hardware of ours that it could try; and the request for the one diagnostic page, the
// list of them.
Decision decode_send_diagnostic(const Context& context) noexcept {
    constexpr std::uint8_t self_test_code = 0xE0;
    constexpr std::uint8_t page_format = 0x10;
    constexpr std::uint8_t self_test = 0x04;
    constexpr std::size_t page_length = 4;  // this page's, which says nothing but its code
    if ((context.cdb[1] & self_test_code) != 0) return invalid_field();
    const std::size_t length = context.field<std::uint16_t>(3);
    if (length == 0) return good();
    const bool is_page = (context.cdb[1] & (page_format | self_test)) == page_format;
    if (!is_page || length > context.buffer().size()) return invalid_field();
    if (length != page_length) return illegal(AdditionalSense::parameter_list_length_error);
    const auto page = context.buffer().first(length);
    if (page[0] != 0 || load_big_endian<std::uint16_t>(page.data() + 2) != 0)
        return illegal(AdditionalSense::invalid_field_in_parameter_list);
    return good(length);
}

// SPC-4, RECEIVE DIAGNOSTIC RESULTS: the list of diagnostic pages holds itself alone. Without PCV
// it is the page that a SEND DIAGNOSTIC asked for, which can have been no other.
Decision decode_receive_diagnostic_results(const Context& context) noexcept {
    constexpr std::uint8_t page_code_valid = 0x01;
    const bool names_page = (context.cdb[1] & page_code_valid) != 0;
    if (names_page && context.cdb[2] != 0) return invalid_field();
    ByteWriter out(context.room(context.field<std::uint16_t>(3)));
    out.big_endian<std::uint16_t>(0);
    out.big_endian<std::uint16_t>(1);
    out.byte(0x00);
    return good(out.stored());
}

// SBC-3, READ DEFECT DATA. What storage has defects keeps them to itself: both lists are there, and
// empty, in whatever format of SBC-3's they are asked for.
Decision decode_read_defect_data(const Context& context) noexcept {
    enum Format : std::uint8_t { short_block = 0, long_block = 3, from_index = 4, sector = 5 };
    const bool ten = context.cdb.size() == 10;
    const std::uint8_t asked = context.cdb[ten ? 2 : 1] & 0x1F;  // which lists, and the format
    const std::uint8_t format = asked & 0x07;
    if (format != short_block && format != long_block && format != from_index && format != sector)
        return invalid_field();
    ByteWriter out(
        context.room(ten ? context.field<std::uint16_t>(7) : context.field<std::uint32_t>(6)));
    out.byte(0);
    out.byte(asked);
    out.fill(ten ? 2 : 6);  // (12): generation code 0, "not supported"; DEFECT LIST LENGTH
    return good(out.stored());
}

// SPC-4, REPORT LUNS. One logical unit, LUN 0, and no well known ones.
Decision decode_report_luns(const Context& context) noexcept {
    enum SelectReport : std::uint8_t { addressable = 0, well_known = 1, all = 2 };
    const std::uint8_t select = context.cdb[2];
    if (select > all) return invalid_field();
    const std::uint32_t list_length = select == well_known ? 0 : 8;
    ByteWriter out(context.room(context.field<std::uint32_t>(6)));
    out.big_endian<std::uint32_t>(list_length);
    out.fill(4);
    out.fill(list_length);
    return good(out.stored());
}

}  // namespace wnbd::scsi
