// SPDX-License-Identifier: LGPL-2.1-or-later
// The few socket calls that a connection needs, the same on Linux and Windows. Nothing here blocks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "nbd/fault_text.h"
#include "nbd/io_slice.h"
#include "nbd/stream.h"

namespace wnbd::nbd {

using Clock = std::chrono::steady_clock;

/// The most slices that one send() or receive() takes.
inline constexpr std::size_t max_slices = Stream::max_slices;

/// What the system says of its error number, in one line. Allocates nothing.
[[nodiscard]] FaultText explain_system_error(int error) noexcept;
[[nodiscard]] inline std::string system_error_text(int error) {
    return explain_system_error(error).string();
}

/// A connected stream socket, non-blocking. One thread may send while another receives; shutdown
/// may come from any thread while the socket lives.
class Socket {
  public:
#if defined(_WIN32)
    using Native = std::uintptr_t;
#else
    using Native = int;
#endif
    static constexpr Native invalid = static_cast<Native>(-1);

    explicit Socket(Native native = invalid) noexcept : native_(native) {}
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&& other) noexcept;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket();

    /// Gathers up to max_slices slices into one system call; may send a part.
    [[nodiscard]] IoResult send(std::span<const IoSlice> slices) noexcept;
    /// Scatters what is there. `closed` when the peer has ended its side.
    [[nodiscard]] IoResult receive(std::span<const IoSlice> slices) noexcept;

    void shutdown_both() noexcept;
    void shutdown_send() noexcept;

    /// The address of the other side, in numbers; empty for a Unix socket.
    [[nodiscard]] std::string peer_host() const;

    [[nodiscard]] bool open() const noexcept { return native_ != invalid; }
    /// Gives the system's socket away.
    [[nodiscard]] Native release() noexcept { return std::exchange(native_, invalid); }
    [[nodiscard]] Native native() const noexcept { return native_; }

  private:
    Native native_;
};

}  // namespace wnbd::nbd
