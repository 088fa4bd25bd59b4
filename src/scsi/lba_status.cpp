// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/lba_status.h"

#include <algorithm>

#include "base/byte_writer.h"

namespace wnbd::scsi {
namespace {

constexpr std::size_t header_length = 8;
constexpr std::size_t descriptor_length = 16;
constexpr std::uint64_t run_blocks_max = 0xFFFFFFFF;  // NUMBER OF LOGICAL BLOCKS has 32 bits

}  // namespace

LbaStatus::LbaStatus(std::span<std::uint8_t> room, std::uint64_t first, std::uint64_t end) noexcept
    : room_(room), run_(first), next_(first), end_(end) {}

/// One at least, for the length it has: what does not fit is cut.
std::size_t LbaStatus::descriptors_max() const noexcept {
    return (std::max(room_.size(), header_length + descriptor_length) - header_length) /
           descriptor_length;
}

void LbaStatus::add(std::uint64_t until, bool mapped) noexcept {
    until = std::min(until, end_);
    while (!full_ && next_ < until) {
        const std::uint64_t length = next_ - run_;
        if (length == run_blocks_max || (length > 0 && mapped != mapped_)) {
            write_run();
            continue;
        }
        mapped_ = mapped;
        next_ += std::min(until - next_, run_blocks_max - length);
    }
}

void LbaStatus::write_run() noexcept {
    const std::size_t at = header_length + written_ * descriptor_length;
    ByteWriter out(room_.subspan(std::min(at, room_.size())));
    out.big_endian<std::uint64_t>(run_);
    out.big_endian<std::uint32_t>(static_cast<std::uint32_t>(next_ - run_));
    out.byte(mapped_ ? 0x00 : 0x01);  // PROVISIONING STATUS
    out.fill(3);
    run_ = next_;
    full_ = ++written_ == descriptors_max();
}

std::size_t LbaStatus::finish() noexcept {
    if (run_ != next_) write_run();
    const std::size_t length = header_length + written_ * descriptor_length;
    ByteWriter header(room_);
    // PARAMETER DATA LENGTH: what follows this field, whether or not it fits.
    header.big_endian<std::uint32_t>(static_cast<std::uint32_t>(length - 4));
    header.fill(4);
    return std::min(length, room_.size());
}

}  // namespace wnbd::scsi
