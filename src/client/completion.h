// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string_view>

namespace wnbd::client {

/// The environment variable with the command's text up to the cursor. Not an argument: Windows
/// PowerShell passes quotation marks in arguments on unescaped.
inline constexpr char completion_line_variable[] = "WNBD_COMPLETION_LINE";

/// A PowerShell script (5.1 or newer) that registers a completer. It decides nothing: it asks
/// `wnbd-client completion powershell --candidates`, which is candidate_lines().
[[nodiscard]] std::string_view powershell_completion() noexcept;

}  // namespace wnbd::client
