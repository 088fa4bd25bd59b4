// SPDX-License-Identifier: LGPL-2.1-or-later
// Holds the library's latest error back, so that it can become a part of the command's own line
// instead of a second one that says the same.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace wnbd::client {

/// A logged message: as a line of the log, and its bare text.
struct LogEntry {
    std::string line;
    std::string text;
};

/// Thread-safe.
class HeldError {
  public:
    /// Holds `entry` and returns the one held before, which turned out not to be the last word.
    [[nodiscard]] std::optional<LogEntry> hold(LogEntry&& entry) {
        const std::lock_guard lock(mutex_);
        return std::exchange(held_, std::move(entry));
    }

    /// Returns what is held, if anything, and holds nothing any more.
    [[nodiscard]] std::optional<LogEntry> release() {
        const std::lock_guard lock(mutex_);
        return std::exchange(held_, std::nullopt);
    }

  private:
    std::mutex mutex_;
    std::optional<LogEntry> held_;
};

}  // namespace wnbd::client
