// SPDX-License-Identifier: LGPL-2.1-or-later
// The help texts, laid out from the command table.
#pragma once

#include <string>

#include "client/command_table.h"

namespace wnbd::client {

/// All commands, one row each.
[[nodiscard]] std::string help_for_all();

/// One command: usage, description, arguments.
[[nodiscard]] std::string help_for(const CommandSpec& command);

}  // namespace wnbd::client
