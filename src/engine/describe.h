// SPDX-License-Identifier: LGPL-2.1-or-later
// From the properties a serving process gives to what the disk says of itself.
#pragma once

#include "engine/adapter.h"
#include "scsi/disk.h"

namespace wnbd::engine {

/// Properties have been checked: names terminated, block size 512 or 4096, a physical
/// block of 64 KiB at most.
[[nodiscard]] scsi::Disk describe(const WNBD_PROPERTIES& properties) noexcept;

}  // namespace wnbd::engine
