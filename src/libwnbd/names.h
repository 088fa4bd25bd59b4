// SPDX-License-Identifier: LGPL-2.1-or-later
// Strings on their way into the fixed arrays of the ABI: nothing is cut, nothing overflows.
#pragma once

#include <cstdint>
#include <span>

#include "libwnbd/abi.h"

namespace wnbd::libwnbd {

enum class NameFault : std::uint8_t { none, null, empty, too_long };

/// Copies a name with its terminator and zeroes what remains of `to`. On a fault `to` is all zero.
[[nodiscard]] NameFault copy_name(std::span<CHAR> to, const char* from) noexcept;

/// Whether a string ends within its array.
[[nodiscard]] bool is_terminated(std::span<const CHAR> field) noexcept;

/// The first string field that does not end within its array, or nullptr when all do.
[[nodiscard]] const char* unterminated_field(const WNBD_PROPERTIES& properties) noexcept;

}  // namespace wnbd::libwnbd
