// SPDX-License-Identifier: LGPL-2.1-or-later
// Lines from standard input: a console, which edits them and keeps their history itself, or a pipe
// or a file, in UTF-8.
#pragma once

#include <windows.h>

#include <optional>

#include "client/line_splitter.h"

namespace wnbd::client {

class LineReader {
  public:
    LineReader() noexcept;

    [[nodiscard]] bool is_console() const noexcept { return is_console_; }

    /// The next line; empty at the end of the input. An interrupted line (Ctrl-C) is an empty one.
    [[nodiscard]] std::optional<InputLine> next();

  private:
    /// False at the end.
    bool read_console();
    bool read_bytes();

    HANDLE input_;
    bool is_console_;
    bool ended_ = false;
    LineSplitter splitter_;
};

}  // namespace wnbd::client
