// SPDX-License-Identifier: LGPL-2.1-or-later
// A small NBD server for tests, whose connections can be cut while its disk lives on. Native builds
// only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "nbd/scripted_server.h"

namespace wnbd::nbd::test {

/// Serves any number of connections at a time, with simple replies, in order. Thread-safe.
class BlockServer {
  public:
    /// `host`: of 127.0.0.0/8.
    explicit BlockServer(std::uint64_t size, std::uint16_t flags = usual_flags,
                         const char* host = "127.0.0.1")
        : host_(host), flags_(flags), disk_(size) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = ::inet_addr(host);
        socklen_t length = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, generic, length) != 0 || ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, generic, &length) != 0)
            throw std::runtime_error("no socket for the block server");
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    BlockServer(const BlockServer&) = delete;
    BlockServer& operator=(const BlockServer&) = delete;
    ~BlockServer() {
        stopping_ = true;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        cut();
        for (auto& connection : connections_) {
            connection.thread.join();
            ::close(connection.socket);
        }
        ::close(listener_);
    }

    static constexpr std::uint16_t usual_flags = transmission_has_flags | transmission_send_flush |
                                                 transmission_send_fua | transmission_send_trim |
                                                 transmission_can_multi_conn;

    [[nodiscard]] Address address() const { return {.host = host_, .port = port_}; }

    /// Ends every connection at once, whatever is in flight. What was not done by then is not done
    /// later: a server that breaks this can't be protected from by any client.
    void cut() {
        const std::lock_guard lock(lock_);
        for (auto& connection : connections_) {
            const std::lock_guard disk(disk_lock_);
            connection.cut = true;
            ::shutdown(connection.socket, SHUT_RDWR);
        }
    }
    /// While away, connections are accepted and ended at once.
    void set_away(bool away) { away_ = away; }
    /// While it falls, connections are ended as soon as they have been negotiated.
    void set_falling(bool falling) { falling_ = falling; }
    void set_flags(std::uint16_t flags) { flags_ = flags; }
    void resize(std::uint64_t size) {
        const std::lock_guard lock(disk_lock_);
        disk_.resize(size);
    }
    [[nodiscard]] unsigned accepted() const { return accepted_; }
    [[nodiscard]] std::vector<std::uint8_t> read(std::uint64_t offset, std::size_t length) {
        const std::lock_guard lock(disk_lock_);
        const auto begin = disk_.begin() + static_cast<std::ptrdiff_t>(offset);
        return {begin, begin + static_cast<std::ptrdiff_t>(length)};
    }

  private:
    struct Connection {
        int socket;
        bool cut;  // under disk_lock_
        std::thread thread;
    };

    void accept_all() {
        for (;;) {
            const int client = ::accept(listener_, nullptr, nullptr);
            if (client < 0 || stopping_) {
                if (client >= 0) ::close(client);
                return;
            }
            ++accepted_;
            if (away_) {
                ::close(client);
                continue;
            }
            const std::lock_guard lock(lock_);
            auto& connection = connections_.emplace_back(Connection{client, false, {}});
            connection.thread = std::thread([this, &connection] { serve(connection); });
        }
    }

    void serve(const Connection& connection) {
        Peer peer(connection.socket);
        std::uint64_t size = 0;
        {
            const std::lock_guard lock(disk_lock_);
            size = disk_.size();
        }
        peer.negotiate(export_info(size, flags_).append(ack()));
        while (!falling_ && serve_one(connection, peer)) {
        }
        ::shutdown(connection.socket, SHUT_RDWR);
    }

    bool serve_one(const Connection& connection, Peer& peer) {
        const auto request = peer.request();
        const auto type = static_cast<CommandType>(request.type);
        if (request.type > static_cast<std::uint16_t>(CommandType::block_status) ||
            type == CommandType::disconnect)
            return false;
        std::vector<std::uint8_t> payload;
        if (type == CommandType::write) {
            payload = peer.receive(request.length);
            if (payload.size() != request.length) return false;
        }
        const std::lock_guard lock(disk_lock_);
        if (connection.cut) return false;
        if (request.offset > disk_.size() || request.length > disk_.size() - request.offset) {
            peer.send(simple_reply(request.handle, error_invalid));
            return true;
        }
        auto* const place = disk_.data() + request.offset;
        Wire reply = simple_reply(request.handle);
        if (type == CommandType::write) std::memcpy(place, payload.data(), payload.size());
        if (type == CommandType::trim) std::memset(place, 0, request.length);
        if (type == CommandType::read) reply.append(place, request.length);
        peer.send(reply);
        return true;
    }

    const std::string host_;
    std::atomic<std::uint16_t> flags_;
    std::atomic<bool> away_{false};
    std::atomic<bool> falling_{false};
    std::atomic<bool> stopping_{false};
    std::atomic<unsigned> accepted_{0};
    int listener_;
    std::uint16_t port_ = 0;
    std::thread acceptor_;
    std::mutex lock_;
    std::list<Connection> connections_;
    std::mutex disk_lock_;
    std::vector<std::uint8_t> disk_;
};

}  // namespace wnbd::nbd::test
