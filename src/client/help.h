// SPDX-License-Identifier: LGPL-2.1-or-later
// The help texts, laid out from the command table; as JSON they are the table itself.
#pragma once

#include <string>

#include "client/arguments.h"
#include "client/command_table.h"

namespace wnbd::client {

/// All commands, one row each.
[[nodiscard]] std::string help_for_all(OutputFormat format);

/// One command: usage, description, arguments.
[[nodiscard]] std::string help_for(const CommandSpec& command, OutputFormat format);

}  // namespace wnbd::client
