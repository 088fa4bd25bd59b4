// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's shell around the operating system: words in, text out, error texts.
#pragma once

#include <windows.h>

#include <string>
#include <string_view>
#include <vector>

#include "client/arguments.h"
#include "client/failure_text.h"

namespace wnbd::client {

/// Switches the console to UTF-8 while it lives and puts the user's code page back at the end.
class Utf8Console {
  public:
    Utf8Console() noexcept;
    ~Utf8Console();
    Utf8Console(const Utf8Console&) = delete;
    Utf8Console& operator=(const Utf8Console&) = delete;

  private:
    UINT previous_code_page_;
};

/// The command line's words after the program's name, in UTF-8 whatever the active code page is.
[[nodiscard]] std::vector<std::string> command_line_words();

/// Writes to standard output. Returns ERROR_WRITE_FAULT when not all of it could be written.
[[nodiscard]] DWORD print(std::string_view text);

/// How all that follows goes to standard error: lines of text, or one JSON object a line.
/// Process-wide.
void use_message_format(OutputFormat format) noexcept;

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

/// Windows's own text of an error, in UTF-8; empty when it has none.
[[nodiscard]] std::string system_error_text(DWORD code);

/// Prints the one line of a failed command and returns `code`, the exit code. For ERROR_OPEN_FAILED
/// it asks again why the adapter cannot be opened, for the advice.
DWORD report_failure(Task task, std::string_view what, DWORD code);

/// The same with a `detail` of the command's own in place of the library's.
DWORD report_failure(Task task, std::string_view what, DWORD code, std::string detail);

/// The same where WnbdOpenAdapter was called, and gave `adapter_code`.
DWORD report_adapter_failure(std::string_view what, DWORD code, DWORD adapter_code);

/// Says that a word of the command line is empty. Returns the exit code, ERROR_INVALID_PARAMETER.
DWORD report_missing(std::string_view what);

}  // namespace wnbd::client
