// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/line_reader.h"

#include <span>
#include <string_view>

#include "client/text.h"

namespace wnbd::client {

LineReader::LineReader() noexcept : input_(GetStdHandle(STD_INPUT_HANDLE)) {
    DWORD mode = 0;
    is_console_ = GetConsoleMode(input_, &mode) != FALSE;
}

std::optional<InputLine> LineReader::next() {
    for (;;) {
        if (auto line = splitter_.next()) return line;
        if (ended_) return std::nullopt;
        if (is_console_ ? read_console() : read_bytes()) continue;
        ended_ = true;
        splitter_.end();
    }
}

bool LineReader::read_console() {
    wchar_t units[1024];
    DWORD count = 0;
    SetLastError(ERROR_SUCCESS);
    if (ReadConsoleW(input_, units, static_cast<DWORD>(std::size(units)), &count, nullptr) == FALSE)
        return false;
    // Ctrl-C takes the line away; the control handler has been called beside it.
    if (count == 0 && GetLastError() == ERROR_OPERATION_ABORTED) {
        splitter_.feed("\n");
        return true;
    }
    constexpr wchar_t ctrl_z = 0x1A;
    if (count == 0 || units[0] == ctrl_z) return false;
    splitter_.feed(utf8_from_utf16(std::span<const wchar_t>(units, count)));
    return true;
}

bool LineReader::read_bytes() {
    char bytes[4096];
    DWORD count = 0;
    if (ReadFile(input_, bytes, sizeof(bytes), &count, nullptr) == FALSE || count == 0)
        return false;
    splitter_.feed({bytes, count});
    return true;
}

}  // namespace wnbd::client
