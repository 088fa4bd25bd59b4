// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/target.h"

#include <algorithm>
#include <utility>

namespace wnbd::iscsi {

Target::Target(TargetSettings settings, Log& log)
    : settings_(std::move(settings)),
      log_(log),
      buffers_(settings_.buffer_bytes_max),
      sessions_(settings_.sessions_max, [this](scsi::Nexus nexus) { return registered(nexus); }) {}

LogicalUnit* Target::find(std::uint64_t lun) const noexcept {
    // Single level: peripheral device addressing of bus 0, or flat space addressing; what lies
    // below the first level is zero.
    constexpr std::uint64_t below = (std::uint64_t{1} << 48) - 1;
    constexpr std::uint64_t flat_space = 1;
    if ((lun & below) != 0) return nullptr;
    const std::uint64_t method = lun >> 62;
    const std::uint64_t number = (lun >> 48) & 0x3FFF;
    if (method > flat_space || (method != flat_space && number > 0xFF)) return nullptr;
    return number < units_.size() ? units_[number].get() : nullptr;
}

bool Target::registered(scsi::Nexus nexus) noexcept {
    return std::ranges::any_of(units_,
                               [nexus](const auto& unit) { return unit->registered(nexus); });
}

}  // namespace wnbd::iscsi
