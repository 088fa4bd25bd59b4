// SPDX-License-Identifier: LGPL-2.1-or-later
// What Windows and the library say about an error.
#pragma once

#include <windows.h>

#include <string>
#include <string_view>

#include "client/failure_text.h"
#include "client/output.h"

namespace wnbd::client {

/// Windows's own text of an error, in UTF-8; empty when it has none.
[[nodiscard]] std::string system_error_text(DWORD code);

/// Prints the one line of a failed command and returns `code`, the exit code. For ERROR_OPEN_FAILED
/// it asks again why the adapter cannot be opened, for the advice.
DWORD report_failure(Task task, std::string_view what, DWORD code);

/// The same with a `detail` of the command's own in place of the library's.
DWORD report_failure(Task task, std::string_view what, DWORD code, std::string detail);

/// The same where WnbdOpenAdapter was called, and gave `adapter_code`.
DWORD report_adapter_failure(std::string_view what, DWORD code, DWORD adapter_code);

}  // namespace wnbd::client
