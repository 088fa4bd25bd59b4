// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to src/scsi: the service actions of PERSISTENT RESERVE IN and OUT (SPC-4).
#pragma once

#include <cstdint>

namespace wnbd::scsi {

enum class ActionIn : std::uint8_t {
    read_keys = 0x00,
    read_reservation = 0x01,
    report_capabilities = 0x02,
    read_full_status = 0x03,
};

enum class ActionOut : std::uint8_t {
    register_key = 0x00,
    reserve = 0x01,
    release = 0x02,
    clear = 0x03,
    preempt = 0x04,
    preempt_and_abort = 0x05,
    register_and_ignore_existing_key = 0x06,
    register_and_move = 0x07,
};

/// SPC-4, scope and type: the whole logical unit, and the types that are not obsolete.
[[nodiscard]] constexpr bool valid_scope_and_type(std::uint8_t scope, std::uint8_t type) noexcept {
    return scope == 0 && (type == 1 || type == 3 || (type >= 5 && type <= 8));
}

}  // namespace wnbd::scsi
