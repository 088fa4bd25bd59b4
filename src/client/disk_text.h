// SPDX-License-Identifier: LGPL-2.1-or-later
// The output of list, show and stats.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "client/abi_types.h"
#include "client/arguments.h"

namespace wnbd::client {

/// Queue depths in force; -1 where they could not be learnt.
struct IoLimits {
    std::int64_t per_lun = -1;
    std::int64_t per_adapter = -1;
};

[[nodiscard]] std::string list_text(std::span<const WNBD_CONNECTION_INFO> disks,
                                    OutputFormat format);

[[nodiscard]] std::string show_text(const WNBD_CONNECTION_INFO& disk, const IoLimits& limits,
                                    OutputFormat format);

/// `now_ms` is the time since the system's start, the clock of the driver's time stamps. A time
/// stamp of the future, which rounding can make, counts as now.
[[nodiscard]] std::string stats_text(const WNBD_DRV_STATS& stats, std::uint64_t now_ms,
                                     OutputFormat format);

}  // namespace wnbd::client
