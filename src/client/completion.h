// SPDX-License-Identifier: LGPL-2.1-or-later
// Tab completion, made from the command table, so that it knows what the parser knows.
#pragma once

#include <string>

namespace wnbd::client {

/// A PowerShell script (5.1 or newer) that registers a completer: commands, options, the values of
/// options, and the names of mapped disks and driver options, for which it asks wnbd-client.
[[nodiscard]] std::string powershell_completion();

}  // namespace wnbd::client
