// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/console.h"

namespace wnbd::client {

Utf8Console::Utf8Console() noexcept = default;
Utf8Console::~Utf8Console() = default;

std::vector<std::string> command_line_words(int count, char** words) {
    return {words + (count > 0 ? 1 : 0), words + count};
}

int exit_status(DWORD code) noexcept {
    // Eight bits arrive, and 128 and above would look like a signal's.
    return code < 128 ? static_cast<int>(code) : 1;
}

}  // namespace wnbd::client
