// SPDX-License-Identifier: LGPL-2.1-or-later
// What an option's value may be, for the line that says why one was refused.
#pragma once

#include <string>
#include <string_view>

namespace wnbd::client {

/// The option and what it takes, without a full stop; empty for a name that is no option's. Names
/// are compared without case, as the driver does.
[[nodiscard]] std::string option_range_text(std::string_view name);

/// Why an option, or its stored value, was not found.
[[nodiscard]] std::string option_absence_text(std::string_view name, bool persistent);

}  // namespace wnbd::client
