// SPDX-License-Identifier: LGPL-2.1-or-later
// Commands that no logical unit answers, but the target: REPORT LUNS, which is about all of them,
// and what is sent to a LUN where there is none (SPC-4 6.6.1, 6.33; SAM-5 5.11).
#pragma once

#include <cstdint>
#include <span>

#include "scsi/command.h"

namespace wnbd::iscsi {

class LogicalUnit;

constexpr std::size_t target_answer_max = 4096;  // bytes of data-in

/// `unit` is the one at the command's LUN, or nullptr.
[[nodiscard]] bool is_for_target(const LogicalUnit* unit,
                                 std::span<const std::uint8_t> cdb) noexcept;

/// Answers such a command. `room` has target_answer_max bytes.
[[nodiscard]] scsi::Answer answer_for_target(bool unit_there, std::size_t unit_count,
                                             std::span<const std::uint8_t> cdb,
                                             std::span<std::uint8_t> room) noexcept;

}  // namespace wnbd::iscsi
