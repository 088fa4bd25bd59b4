// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the operating systems' sockets differ. Private to the socket files.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "nbd/socket.h"

namespace wnbd::nbd::system {

/// Once per process: Windows wants its sockets started. 0 or the system's error.
[[nodiscard]] int start() noexcept;
[[nodiscard]] int last_error() noexcept;
void close(Socket::Native native) noexcept;
/// 0 or the system's error.
[[nodiscard]] int make_non_blocking(Socket::Native native) noexcept;
[[nodiscard]] bool connect_pending(int error) noexcept;
/// The system has no sockets but those of the network.
[[nodiscard]] bool no_unix_sockets(int error) noexcept;
/// A Unix socket's listener has no room for one more: a matter of time.
[[nodiscard]] bool queue_full(int error) noexcept;
/// No delay of small sends, and probes that find a peer out that vanished without a word. 0 or the
/// system's error.
[[nodiscard]] int set_tcp_options(Socket::Native native) noexcept;
/// A thread of ours is left behind: the library that holds its code must not be unloaded.
void stay_loaded() noexcept;

/// A peer that says nothing for `idle` is asked, again each `interval`, and is gone after `count`
/// questions without an answer (Windows: 10, whatever we say).
namespace keep_alive {
inline constexpr std::chrono::seconds idle{30};
inline constexpr std::chrono::seconds interval{5};
inline constexpr int count = 6;
}  // namespace keep_alive

/// Waits for sockets that are connecting, and for a cancellation. One thread uses it, any may
/// cancel.
class ConnectWatch {
  public:
    static constexpr std::size_t sockets_max = 16;
    enum class State : std::uint8_t { pending, connected, failed };

    /// Null when the system refuses: last_error() says why.
    [[nodiscard]] static std::unique_ptr<ConnectWatch> create();
    ConnectWatch(const ConnectWatch&) = delete;
    ConnectWatch& operator=(const ConnectWatch&) = delete;
    ~ConnectWatch();

    /// For ever.
    void cancel() noexcept;
    [[nodiscard]] bool cancelled() const noexcept;

    /// Before connect() is called. 0 or the system's error.
    [[nodiscard]] int add(Socket::Native native) noexcept;
    /// Before a connected socket is used. A socket that is closed needs no removal.
    void remove(Socket::Native native) noexcept;
    /// Until something is new of one of these, at most sockets_max, or cancel() is called, or the
    /// time is over.
    void wait(std::span<const Socket> pending, std::chrono::milliseconds time_max) noexcept;
    /// `error` is the system's, when failed.
    [[nodiscard]] State state(Socket::Native native, int& error) noexcept;

  private:
    struct Native;
    explicit ConnectWatch(std::unique_ptr<Native> native) noexcept;
    std::unique_ptr<Native> native_;
};

}  // namespace wnbd::nbd::system
