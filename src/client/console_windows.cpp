// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <cstdio>
#include <span>
#include <string_view>

#include "client/console.h"
#include "client/text.h"
#include "client/words.h"

namespace wnbd::client {

Utf8Console::Utf8Console() noexcept : previous_code_page_(GetConsoleOutputCP()) {
    SetConsoleOutputCP(CP_UTF8);
}

Utf8Console::~Utf8Console() {
    std::fflush(stdout);
    if (previous_code_page_ != 0) SetConsoleOutputCP(previous_code_page_);
}

std::vector<std::string> command_line_words(int /*count*/, char** /*words*/) {
    // The C runtime's words are in the active code page.
    const std::wstring_view line = GetCommandLineW();
    return split_command_line(utf8_from_utf16(std::span(line.data(), line.size())));
}

int exit_status(DWORD code) noexcept {
    return static_cast<int>(code);
}

}  // namespace wnbd::client
