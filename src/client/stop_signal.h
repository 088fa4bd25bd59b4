// SPDX-License-Identifier: LGPL-2.1-or-later
// How a command that serves learns that it is to end.
#pragma once

#include <chrono>

namespace wnbd::client {

/// One at a time. Made before other threads are, so that they leave the signals to it.
class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    /// Waits this long at most for SIGINT, SIGTERM or SIGHUP; on Windows for Ctrl-C, Ctrl-Break, or
    /// the end of the console, the session or Windows, which wait a few seconds for the destructor.
    /// True when one came; from then on another one ends the process at once.
    [[nodiscard]] bool wait(std::chrono::milliseconds time);
};

}  // namespace wnbd::client
