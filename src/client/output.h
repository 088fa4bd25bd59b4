// SPDX-License-Identifier: LGPL-2.1-or-later
// Text out, as lines or as JSON.
#pragma once

#include <string>
#include <string_view>

#include "client/arguments.h"
#include "client/exit_codes.h"
#include "client/fields.h"

namespace wnbd::client {

/// Writes to standard output. Returns ERROR_WRITE_FAULT when not all of it could be written.
[[nodiscard]] DWORD print(std::string_view text);

/// How all that follows goes to standard error: lines of text, or one JSON object a line.
/// Process-wide.
void use_message_format(OutputFormat format) noexcept;
[[nodiscard]] OutputFormat message_format() noexcept;

/// Writes `line` and a newline to standard error, in one go, whatever the format is.
void write_error_line(std::string line);

/// Writes `text` and a newline to standard error; as JSON {"Note": text}.
void print_error(std::string_view text);

/// The same behind `wnbd-client: `, which tells the client's own lines from the library's log.
void print_complaint(std::string_view text);

/// Says why a command cannot be done at all, and returns `code`, the exit code. As JSON it is a
/// failure like those of report_failure.
DWORD refuse(std::string_view text, DWORD code);

/// The same for a command that does not exist, in the words that scripts may know; `remedy` is a
/// paragraph of its own, or empty.
DWORD report_unknown_command(std::string_view name, std::string_view remedy);

/// Says that a word of the command line is empty. Returns the exit code, ERROR_INVALID_PARAMETER.
DWORD report_missing(std::string_view what);

}  // namespace wnbd::client
