// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/digest.h"

namespace wnbd::iscsi {

bool equal_in_constant_time(std::span<const std::uint8_t> a,
                            std::span<const std::uint8_t> b) noexcept {
    if (a.size() != b.size()) return false;
    // Volatile, so that no compiler finds out that it could stop early.
    volatile std::uint8_t difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
    return difference == 0;
}

}  // namespace wnbd::iscsi
