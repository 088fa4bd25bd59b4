// SPDX-License-Identifier: LGPL-2.1-or-later
// A socket and the connection of the protocol that it carries. Belongs to one loop; private to the
// server.
#pragma once

#include <array>
#include <asio/ip/tcp.hpp>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "iscsi/connection.h"

namespace wnbd::iscsi {

class Loop;

/// All of it runs on its loop's thread, but for wake().
class Peer final : public ConnectionHost {
  public:
    /// Throws std::bad_alloc.
    Peer(Loop& loop, asio::ip::tcp::socket socket, std::string name, std::string portal);

    /// Begins to receive. This and the three that follow may destroy the peer.
    void start() noexcept;
    void tick(std::uint64_t now_ms) noexcept;
    void ask_for_logout(std::uint16_t within_seconds) noexcept;
    /// Closes the socket; `why` is for the log.
    void close(const std::string& why) noexcept;

    void wake() noexcept override;

    /// Where it stands in the loop's list; the loop's own.
    std::size_t place = 0;

  private:
    enum class State : std::uint8_t {
        open,
        lingering,  // all is said; waiting for the other side to have read it
        closed,     // no socket; there may be commands under way
    };

    void receive() noexcept;
    void receive_done(std::error_code error, std::size_t count) noexcept;
    void send() noexcept;
    void send_done(std::error_code error, std::size_t count) noexcept;
    void woken() noexcept;
    void linger() noexcept;
    void end(const std::string& why) noexcept;
    /// Does what is to be done next. Last in every entry: it may destroy the peer.
    void settle() noexcept;

    static constexpr std::size_t most_slices = 64;  // as many as Asio hands to one system call
    static constexpr unsigned linger_ticks = 3;

    Loop& loop_;
    asio::ip::tcp::socket socket_;
    const std::string name_;
    State state_ = State::open;
    bool receiving_ = false;  // an operation is under way
    bool sending_ = false;
    bool detached_ = false;
    unsigned ticks_left_ = linger_ticks;
    std::atomic<bool> woken_{false};
    /// For the one wake that may be posted: other threads have no memory of Asio's at hand.
    alignas(std::max_align_t) std::array<std::byte, 256> wake_memory_{};
    std::array<asio::mutable_buffer, 2> receive_slices_;
    std::array<asio::const_buffer, most_slices> send_slices_;
    Connection connection_;
};

}  // namespace wnbd::iscsi
