// SPDX-License-Identifier: LGPL-2.1-or-later
// The negotiation's options in messages.
#pragma once

#include "nbd/protocol.h"

namespace wnbd::nbd {

/// Where a server falls silent, and what it refuses. String literals.
struct OptionNames {
    const char* before;
    const char* inside;
    const char* wish;
};

[[nodiscard]] OptionNames names_of(Option option) noexcept;

}  // namespace wnbd::nbd
