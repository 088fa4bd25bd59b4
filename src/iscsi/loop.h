// SPDX-License-Identifier: LGPL-2.1-or-later
// A thread and the connections that belong to it. Private to the server.
#pragma once

#include <array>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "iscsi/peer.h"
#include "iscsi/target.h"

namespace wnbd::iscsi {

/// What the loops of a server share. Thread-safe.
class LoopOwner {
  public:
    /// A connection has come to its end.
    virtual void peer_ended() noexcept = 0;

  protected:
    ~LoopOwner() = default;
};

class Loop {
  public:
    Loop(Target& target, Log& log, LoopOwner& owner);
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    /// Runs in a thread of its own until finish(). Throws std::system_error.
    void start();
    /// Lets the thread end; all peers are gone. From any other thread.
    void finish() noexcept;

    [[nodiscard]] asio::io_context& context() noexcept { return context_; }
    [[nodiscard]] Target& target() noexcept { return target_; }
    [[nodiscard]] Log& log() noexcept { return log_; }
    [[nodiscard]] std::span<std::uint8_t> waste() noexcept { return waste_; }
    [[nodiscard]] static std::uint64_t now_ms() noexcept;

    /// Sleeps for some ten microseconds, on the loop's thread and for a loop that has nothing else
    /// to do. Where the system can only sleep for longer: not at all.
    static void pause() noexcept;

    /// How many connections it has or will have; for the choice of a loop.
    std::atomic<unsigned> load{0};

    // On the loop's thread:
    void adopt(asio::ip::tcp::socket socket) noexcept;
    void ask_for_logout(std::uint16_t within_seconds) noexcept;
    void close_all() noexcept;
    /// Destroys it.
    void remove(Peer& peer) noexcept;

  private:
    void tick() noexcept;
    /// Each peer once, though any of them may go meanwhile.
    template <typename Action>
    void each(Action action) noexcept;

    Target& target_;
    Log& log_;
    LoopOwner& owner_;
    asio::io_context context_{1};  // 1: its handlers run in one thread
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    asio::steady_timer timer_;
    bool stopping_ = false;
    std::vector<std::unique_ptr<Peer>> peers_;
    std::array<std::uint8_t, 16U << 10> waste_{};  // what is received only to be thrown away
    std::thread thread_;
};

}  // namespace wnbd::iscsi
