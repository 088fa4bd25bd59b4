// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/listener.h"

#include <asio/ip/v6_only.hpp>
#include <chrono>
#include <utility>

namespace wnbd::iscsi {
namespace {

using asio::ip::tcp;

constexpr std::chrono::seconds rest_time{1};

#if defined(_WIN32)
/// There, SO_REUSEADDR lets another program take the port away.
using Sharing = asio::detail::socket_option::boolean<SOL_SOCKET, SO_EXCLUSIVEADDRUSE>;
#else
/// Here it only lets a server that is started again have its port back at once.
using Sharing = tcp::acceptor::reuse_address;
#endif

}  // namespace

Listener::Listener(asio::io_context& context, Log& log, ConnectionTaker& taker)
    : log_(log), taker_(taker), acceptor_(context), timer_(context) {}

std::error_code Listener::open(Endpoint& endpoint) noexcept {
    std::error_code error;
    const auto address = asio::ip::make_address(endpoint.address, error);
    if (error) return error;
    const tcp::endpoint place(address, endpoint.port);
    acceptor_.open(place.protocol(), error);
    if (!error) acceptor_.set_option(Sharing(true), error);
    // The systems differ in what the IPv6 wildcard includes.
    if (!error && address.is_v6()) acceptor_.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor_.bind(place, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (!error) endpoint.port = acceptor_.local_endpoint(error).port();
    name_ = portal_text(endpoint.address, endpoint.port);
    return error;
}

void Listener::start() noexcept {
    Loop& loop = taker_.loop_for_next();
    acceptor_.async_accept(loop.context(),
                           [this, &loop](std::error_code error, tcp::socket socket) {
                               accepted(error, loop, std::move(socket));
                           });
}

void Listener::accepted(std::error_code error, Loop& loop, tcp::socket socket) noexcept {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!error) {
        failing_ = false;
        taker_.take(loop, std::move(socket));
    } else if (error != asio::error::connection_aborted) {
        // No descriptors, no memory: it may be better later, and the initiator waits meanwhile.
        if (!std::exchange(failing_, true)) {
            log_.write(Log::Level::error,
                       name_ + ": cannot take a connection: " + error_text(error));
        }
        rest();
        return;
    }
    start();
}

// NOLINTNEXTLINE(bugprone-exception-escape): only for want of memory, which ends the process
void Listener::rest() noexcept {
    timer_.expires_after(rest_time);
    timer_.async_wait([this](std::error_code error) {
        if (!error && acceptor_.is_open()) start();
    });
}

// NOLINTNEXTLINE(bugprone-exception-escape): only for want of memory, which ends the process
void Listener::close() noexcept {
    std::error_code ignored;
    acceptor_.close(ignored);
    timer_.cancel();
}

}  // namespace wnbd::iscsi
