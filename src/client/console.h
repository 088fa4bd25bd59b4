// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the words come from, and what shows the text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/exit_codes.h"

namespace wnbd::client {

/// Switches the console to UTF-8 while it lives and puts the user's code page back at the end.
class Utf8Console {
  public:
    Utf8Console() noexcept;
    // NOLINTNEXTLINE(performance-trivially-destructible): on Windows it has work to do
    ~Utf8Console();
    Utf8Console(const Utf8Console&) = delete;
    Utf8Console& operator=(const Utf8Console&) = delete;

  private:
    [[maybe_unused]] std::uint32_t previous_code_page_ = 0;  // on Windows
};

/// The command line's words after the program's name, in UTF-8 whatever the active code page is.
[[nodiscard]] std::vector<std::string> command_line_words(int count, char** words);

/// What the process ends with: `code` where the system can tell it, otherwise 1.
[[nodiscard]] int exit_status(DWORD code) noexcept;

}  // namespace wnbd::client
