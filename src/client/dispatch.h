// SPDX-License-Identifier: LGPL-2.1-or-later
// Finds a command, reads its arguments, runs it.
#pragma once

#include <span>
#include <string>

#include "client/arguments.h"
#include "client/exit_codes.h"

namespace wnbd::client {

/// `words` are the command and its arguments; none at all is `help`. `default_format` counts where
/// they have no --format. Returns the exit code, a Win32 error.
DWORD run_command(std::span<const std::string> words, OutputFormat default_format);

}  // namespace wnbd::client
