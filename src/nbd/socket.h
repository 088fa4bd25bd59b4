// SPDX-License-Identifier: LGPL-2.1-or-later
// The few socket calls that a connection needs, the same on Linux and Windows. Nothing here blocks
// but wait_for() and connect_to().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/io_slice.h"
#include "nbd/stream.h"
#include "nbd/uri.h"

namespace wnbd::nbd {

using Clock = std::chrono::steady_clock;

/// The most slices that one send() or receive() takes.
inline constexpr std::size_t max_slices = Stream::max_slices;

/// What the system says of its error number, in one line.
[[nodiscard]] std::string system_error_text(int error);

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

/// Ends another thread's wait_for().
class Waker {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Waker>, Fault> create();
    Waker(const Waker&) = delete;
    Waker& operator=(const Waker&) = delete;
    ~Waker();

    void wake() noexcept;
    /// Takes the pending wake-ups back.
    void drain() noexcept;
    [[nodiscard]] Socket::Native native() const noexcept { return native_; }

  private:
    explicit Waker(Socket::Native native) noexcept : native_(native) {}
    Socket::Native native_;
};

/// Waits until the socket is readable, or writable if asked, or the waker calls, or the time is
/// over (then nothing is set). A negative time waits for ever.
[[nodiscard]] Ready wait_for(const Socket& socket, bool readable, bool writable, Waker* waker,
                             std::chrono::milliseconds time_max) noexcept;

/// A Dialer of its own that nobody can cancel.
[[nodiscard]] Result<Socket, Fault> connect_to(const Address& address, Clock::time_point deadline);

}  // namespace wnbd::nbd
