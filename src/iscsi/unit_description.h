// SPDX-License-Identifier: LGPL-2.1-or-later
// What a logical unit says of itself: its settings, held against what its backend can do.
#pragma once

#include <cstdint>
#include <string>

#include "backend/backend.h"
#include "base/result.h"
#include "scsi/disk.h"

namespace wnbd::iscsi {

/// What the unit says of itself beyond what its backend knows.
struct UnitSettings {
    std::uint32_t block_size = 512;         // bytes: 512 or 4096
    std::uint32_t physical_block_size = 0;  // bytes, a power of two; 0: the block size
    bool read_only = false;
    std::string serial;  // at most 255 bytes
    std::string naa;     // 8 or 16 bytes as they are; empty: made from the serial
};

struct UnitDescription {
    scsi::Disk disk;
    std::uint64_t block_count = 0;
};

/// The error is one line.
[[nodiscard]] Result<UnitDescription, std::string> describe_unit(
    const backend::Properties& properties, const UnitSettings& settings);

}  // namespace wnbd::iscsi
