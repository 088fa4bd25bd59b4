// SPDX-License-Identifier: LGPL-2.1-or-later
// How many bytes a command moves: for front ends that have to find the memory.
#pragma once

#include <cstdint>
#include <span>

#include "scsi/disk.h"

namespace wnbd::scsi {

/// The most bytes of parameter data, either way, that a command moves here.
constexpr std::uint32_t parameter_bytes_max = 64U << 10;

struct Transfer {
    enum class Direction : std::uint8_t { none, in, out };  // in: to the initiator
    Direction direction = Direction::none;
    std::uint32_t bytes = 0;

    bool operator==(const Transfer&) const noexcept = default;
};

/// What a CDB says that it moves. Blocks: all of them, or nothing when they are more than the Block
/// Limits page allows, since decode() refuses the command then. Data-in that is no blocks: the
/// allocation length, but no more than parameter_bytes_max; such answers end there. Parameter lists
/// that are longer: nothing, they are refused. Pure, thread-safe.
[[nodiscard]] Transfer transfer_of(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept;

}  // namespace wnbd::scsi
