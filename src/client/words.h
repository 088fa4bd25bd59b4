// SPDX-License-Identifier: LGPL-2.1-or-later
// A command line taken apart, by the rules of Microsoft's C runtime: those every shell on Windows
// quotes for. The program's own command line and the lines of `shell` are read by the same
// function, so that what is typed means the same in both.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wnbd::client {

/// Words are parted by spaces and tabs; a quoted part keeps them, and `""` in it is a quotation
/// mark. Backslashes are themselves, except before a quotation mark, where each pair of them is one
/// and an odd one makes the mark a character. A quotation that does not end goes on to the line's
/// end.
[[nodiscard]] std::vector<std::string> split_words(std::string_view line);

/// The same without the first word, the program's name, in which backslashes are always themselves.
[[nodiscard]] std::vector<std::string> split_command_line(std::string_view line);

}  // namespace wnbd::client
