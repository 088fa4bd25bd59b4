// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the operating systems' sockets differ. Private to the socket files.
#pragma once

#include <chrono>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/socket.h"

namespace wnbd::nbd::system {

/// Once per process: Windows wants its sockets started. 0 or the system's error.
[[nodiscard]] int start() noexcept;
[[nodiscard]] int last_error() noexcept;
void close(Socket::Native native) noexcept;
/// 0 or the system's error.
[[nodiscard]] int make_non_blocking(Socket::Native native) noexcept;
[[nodiscard]] bool connect_pending(int error) noexcept;
/// Waits for a pending connect. 0 when connected, else the error; `timed_out` when the time is
/// over.
[[nodiscard]] int wait_connected(Socket::Native native, std::chrono::milliseconds time_max,
                                 bool& timed_out) noexcept;
/// Connects to a Unix socket.
[[nodiscard]] Result<Socket, Fault> connect_unix(const std::string& path);

}  // namespace wnbd::nbd::system
