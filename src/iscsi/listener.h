// SPDX-License-Identifier: LGPL-2.1-or-later
// A socket that listens. Private to the server; on one loop's thread, but for open().
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <system_error>

#include "iscsi/endpoint.h"
#include "iscsi/loop.h"

namespace wnbd::iscsi {

/// Who distributes the connections.
class ConnectionTaker {
  public:
    /// The loop that is to have the next connection.
    virtual Loop& loop_for_next() noexcept = 0;
    /// The connection is there; its socket is one of `loop`.
    virtual void take(Loop& loop, asio::ip::tcp::socket socket) noexcept = 0;

  protected:
    ~ConnectionTaker() = default;
};

class Listener {
  public:
    Listener(asio::io_context& context, Log& log, ConnectionTaker& taker);

    /// Tells the port in `endpoint` where the system chose it.
    [[nodiscard]] std::error_code open(Endpoint& endpoint) noexcept;
    void start() noexcept;
    void close() noexcept;

  private:
    void accepted(std::error_code error, Loop& loop, asio::ip::tcp::socket socket) noexcept;
    void rest() noexcept;

    Log& log_;
    ConnectionTaker& taker_;
    asio::ip::tcp::acceptor acceptor_;
    asio::steady_timer timer_;
    std::string name_;
    bool failing_ = false;  // and said so
};

}  // namespace wnbd::iscsi
