// SPDX-License-Identifier: LGPL-2.1-or-later
// The bytes of a step: from the initiator's buffer to user space, and back. Both are memory that
// may change at any moment; lengths come from the step alone, and are held against the buffers all
// the same.
#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "scsi/step.h"

namespace wnbd::scsi {
namespace {

constexpr std::size_t unmap_list_header_length = 8;
constexpr std::size_t unmap_list_descriptor_length = 16;

template <typename T>
std::span<T> part(std::span<T> whole, std::size_t offset, std::size_t length) noexcept {
    if (offset >= whole.size()) return {};
    return whole.subspan(offset, std::min(length, whole.size() - offset));
}

/// Copies what there is and fills the rest with zeroes.
void copy_padded(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) noexcept {
    const std::size_t length = std::min(from.size(), to.size());
    if (length > 0) std::memcpy(to.data(), from.data(), length);
    if (length < to.size()) std::memset(to.data() + length, 0, to.size() - length);
}

void repeat_block(std::span<const std::uint8_t> block, std::span<std::uint8_t> out,
                  std::size_t block_size) noexcept {
    for (std::size_t offset = 0; offset < out.size(); offset += block_size) {
        copy_padded(block, part(out, offset, block_size));
    }
}

/// Every field is read once, then checked again: the list is the initiator's memory still.
UnmapDescriptor checked_descriptor(std::span<const std::uint8_t> data, std::size_t index,
                                   std::uint64_t block_count) noexcept {
    const auto field = part(data, unmap_list_header_length + index * unmap_list_descriptor_length,
                            unmap_list_descriptor_length);
    if (field.size() < unmap_list_descriptor_length) return {};
    const auto lba = load_big_endian<std::uint64_t>(field.data());
    const auto blocks = load_big_endian<std::uint32_t>(field.data() + 8);
    if (lba > block_count || blocks > block_count - lba) return {};
    return {lba, blocks, 0};
}

void fill_descriptors(const Step& step, std::span<const std::uint8_t> data,
                      std::span<std::uint8_t> out) noexcept {
    for (std::uint32_t i = 0; i < step.descriptor_count; ++i) {
        const auto room = part(out, i * sizeof(UnmapDescriptor), sizeof(UnmapDescriptor));
        if (room.size() < sizeof(UnmapDescriptor)) return;
        const UnmapDescriptor descriptor =
            step.source == Source::unmap_range
                ? UnmapDescriptor{step.lba, step.blocks, 0}
                : checked_descriptor(data, step.first_descriptor + i, step.block_count);
        std::memcpy(room.data(), &descriptor, sizeof(descriptor));
    }
}

void combine(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) noexcept {
    const std::size_t length = std::min(from.size(), to.size());
    for (std::size_t i = 0; i < length; ++i)
        to[i] |= from[i];
}

Answer miscompare(std::size_t offset) noexcept {
    Answer answer = refuse(SenseKey::miscompare, AdditionalSense::miscompare_during_verify);
    answer.sense.information_valid = true;
    answer.sense.information = offset;
    return answer;
}

/// The first byte in which two ranges of one length differ. memcmp() finds out fast whether there
/// is one; when the memory changes before the second look, the beginning is as good as any.
std::optional<std::size_t> first_difference(std::span<const std::uint8_t> one,
                                            std::span<const std::uint8_t> other) noexcept {
    if (one.empty() || std::memcmp(one.data(), other.data(), one.size()) == 0) return std::nullopt;
    for (std::size_t i = 0; i < one.size(); ++i) {
        if (one[i] != other[i]) return i;
    }
    return 0;
}

/// Compares `expected` with a reply of the same length that ends early and is zeroes from there on.
std::optional<std::size_t> first_difference_padded(std::span<const std::uint8_t> expected,
                                                   std::span<const std::uint8_t> reply) noexcept {
    const std::size_t common = std::min(expected.size(), reply.size());
    if (const auto at = first_difference(expected.first(common), reply.first(common))) return at;
    for (std::size_t i = common; i < expected.size(); ++i) {
        if (expected[i] != 0) return i;
    }
    return std::nullopt;
}

Answer compare(const Step& step, std::span<const std::uint8_t> reply,
               std::span<const std::uint8_t> data) noexcept {
    const auto expected = part(data, step.data_offset, step.reply_length);
    if (const auto at = first_difference_padded(expected, reply)) {
        return miscompare(step.data_offset + *at);
    }
    return {};
}

Answer compare_repeated_block(std::size_t block_size, const Step& step,
                              std::span<const std::uint8_t> reply,
                              std::span<const std::uint8_t> data) noexcept {
    const auto block = part(data, 0, block_size);
    for (std::size_t offset = 0; offset < step.reply_length; offset += block_size) {
        if (const auto at = first_difference_padded(block, part(reply, offset, block_size))) {
            return miscompare(*at);
        }
    }
    return {};
}

}  // namespace

void fill_payload(const Disk& disk, const Step& step, std::span<const std::uint8_t> data,
                  std::span<std::uint8_t> out) noexcept {
    const auto payload = part(out, 0, step.payload_length);
    if (payload.empty()) return;
    switch (step.source) {
        case Source::none: break;
        case Source::data:
            copy_padded(part(data, step.data_offset, step.payload_length), payload);
            break;
        case Source::repeated_block:
            repeat_block(part(data, 0, disk.block_size), payload, disk.block_size);
            break;
        case Source::zeroes: std::memset(payload.data(), 0, payload.size()); break;
        case Source::unmap_descriptors:
        case Source::unmap_range: fill_descriptors(step, data, payload); break;
    }
}

Answer absorb_reply(const Disk& disk, const Step& step, std::span<const std::uint8_t> reply,
                    std::span<std::uint8_t> data) noexcept {
    const auto useful = part(reply, 0, step.reply_length);
    switch (step.sink) {
        case Sink::none:
        case Sink::discard: break;
        case Sink::data:
            copy_padded(useful, part(data, step.data_offset, step.reply_length));
            break;
        case Sink::combine: combine(useful, part(data, step.data_offset, step.reply_length)); break;
        case Sink::compare: return compare(step, useful, data);
        case Sink::compare_repeated_block:
            return compare_repeated_block(disk.block_size, step, useful, data);
    }
    return {};
}

}  // namespace wnbd::scsi
