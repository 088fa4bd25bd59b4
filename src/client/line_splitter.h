// SPDX-License-Identifier: LGPL-2.1-or-later
// Bytes as they come, given out as lines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wnbd::client {

struct InputLine {
    std::string text;       // without its end
    bool too_long = false;  // then `text` is only its beginning
};

/// Lines end with LF or CR LF; a byte order mark at the very beginning is dropped.
class LineSplitter {
  public:
    /// Longer lines are given out cut, and marked.
    static constexpr std::size_t length_max = 64 * std::size_t{1024};

    void feed(std::string_view bytes) {
        while (!bytes.empty()) {
            const std::size_t end = std::min(bytes.find('\n'), bytes.size());
            append(bytes.substr(0, end));
            if (end < bytes.size()) finish_line();
            bytes.remove_prefix(std::min(end + 1, bytes.size()));
        }
    }

    /// Nothing follows: what came after the last line's end is a line as well.
    void end() {
        if (!unfinished_.text.empty()) finish_line();
    }

    [[nodiscard]] std::optional<InputLine> next() {
        if (given_ == lines_.size()) return std::nullopt;
        InputLine line = std::move(lines_[given_++]);
        if (given_ == lines_.size()) {
            lines_.clear();
            given_ = 0;
        }
        return line;
    }

  private:
    void append(std::string_view part) {
        const std::size_t room = length_max - unfinished_.text.size();
        unfinished_.too_long = unfinished_.too_long || part.size() > room;
        unfinished_.text += part.substr(0, room);
    }

    void finish_line() {
        constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
        std::string& text = unfinished_.text;
        if (text.ends_with('\r')) text.pop_back();
        if (std::exchange(first_, false) && text.starts_with(byte_order_mark)) {
            text.erase(0, byte_order_mark.size());
        }
        lines_.push_back(std::exchange(unfinished_, {}));
    }

    std::vector<InputLine> lines_;
    std::size_t given_ = 0;
    InputLine unfinished_;
    bool first_ = true;
};

}  // namespace wnbd::client
