// SPDX-License-Identifier: LGPL-2.1-or-later
// UNMAP (SBC-3, 5.28). Every range is checked before anything happens.
#include "scsi/decoder.h"

namespace wnbd::scsi {
namespace {

constexpr std::size_t list_header_length = 8;
constexpr std::size_t descriptor_length = 16;

}  // namespace

Decision decode_unmap(const Context& context) noexcept {
    constexpr std::uint8_t anchor = 0x01;
    if ((context.cdb[1] & anchor) != 0) return invalid_field();  // ANC_SUP is zero
    if (context.disk.read_only) return write_protected();

    const std::size_t list_length = context.field<std::uint16_t>(7);
    if (list_length == 0) return good();
    if (list_length < list_header_length) {
        return illegal(AdditionalSense::parameter_list_length_error);
    }
    const auto buffer = context.buffer();
    if (list_length > buffer.size()) return invalid_field();

    // SBC-3, UNMAP parameter list: descriptors that either length cuts short are ignored, and UNMAP
    // DATA LENGTH does not count what was cut.
    const std::size_t described = load_big_endian<std::uint16_t>(buffer.data() + 2);
    const std::size_t count =
        std::min(described, list_length - list_header_length) / descriptor_length;
    if (count > max_unmap_descriptors) {
        return illegal(AdditionalSense::invalid_field_in_parameter_list);
    }

    BlockRequest request;
    request.action = Action::unmap;
    request.block_count = context.block_count;
    request.descriptor_count = static_cast<std::uint32_t>(count);
    request.data_length = list_length;
    bool anything = false;
    for (std::size_t i = 0; i < count; ++i) {
        const auto* const descriptor = buffer.data() + list_header_length + i * descriptor_length;
        const auto lba = load_big_endian<std::uint64_t>(descriptor);
        const auto blocks = load_big_endian<std::uint32_t>(descriptor + 8);
        if (!in_range(context.block_count, lba, blocks)) return out_of_range();
        if (blocks == 0) continue;  // legal; never reaches the storage, which need not expect it
        request.descriptors_in_use[i / 64] |= std::uint64_t{1} << (i % 64);
        anything = true;
    }
    if (!anything) return good(list_length);
    return request;
}

}  // namespace wnbd::scsi
