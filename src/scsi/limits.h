// SPDX-License-Identifier: LGPL-2.1-or-later
// What one command may ask for. The Block Limits page reports these and decode() holds to them,
// from this one place, so that the two cannot disagree.
#pragma once

#include <algorithm>
#include <cstdint>

#include "scsi/disk.h"

namespace wnbd::scsi {

/// Bytes a READ, WRITE, WRITE AND VERIFY or comparing VERIFY may transfer. More than one step
/// carries: next_step() splits.
constexpr std::uint32_t command_transfer_bytes_max = 32U << 20;

/// Bytes a WRITE SAME may cover. Without unmap it is made of real writes, and those have to end
/// within an initiator's time-out (ten seconds are common).
constexpr std::uint32_t write_same_bytes_max = 128U << 20;

/// UNMAP knows no limit on its sum of blocks (FFFFFFFFh in SBC-3), only on its descriptors.
constexpr std::uint32_t unmap_blocks_unlimited = 0xFFFFFFFFU;

[[nodiscard]] constexpr std::uint32_t transfer_blocks_max(const Disk& disk) noexcept {
    return std::max(command_transfer_bytes_max, disk.max_transfer_length) / disk.block_size;
}

[[nodiscard]] constexpr std::uint32_t write_same_blocks_max(const Disk& disk) noexcept {
    return write_same_bytes_max / disk.block_size;
}

/// Blocks one step may carry; at least one.
[[nodiscard]] constexpr std::uint32_t step_blocks_max(const Disk& disk) noexcept {
    return std::max(disk.max_transfer_length / disk.block_size, 1U);
}

[[nodiscard]] constexpr std::uint32_t physical_block_blocks(const Disk& disk) noexcept {
    return 1U << std::min<unsigned>(disk.physical_block_exponent, 15);
}

}  // namespace wnbd::scsi
