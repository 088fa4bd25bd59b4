// SPDX-License-Identifier: LGPL-2.1-or-later
// A TCP server for tests that does what a script says, right or wrong. Native builds only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/big_endian.h"
#include "nbd/test_wire.h"
#include "nbd/uri.h"

namespace wnbd::nbd::test {

/// The server's side of one connection. Everything gives up quietly when the client has gone.
class Peer {
  public:
    explicit Peer(int socket) : socket_(socket) {}

    void send(const Wire& wire) { send(wire.bytes()); }
    void send(std::span<const std::uint8_t> bytes) {
        while (!bytes.empty()) {
            const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        }
    }
    /// `count` bytes, or fewer when the client ended its side.
    std::vector<std::uint8_t> receive(std::size_t count) {
        std::vector<std::uint8_t> bytes(count);
        std::size_t done = 0;
        while (done < count) {
            const auto got = ::recv(socket_, bytes.data() + done, count - done, 0);
            if (got <= 0) break;
            done += static_cast<std::size_t>(got);
        }
        bytes.resize(done);
        return bytes;
    }
    /// Bytes that have come and were not received yet.
    std::size_t waiting() {
        int count = 0;
        return ::ioctl(socket_, FIONREAD, &count) == 0 ? static_cast<std::size_t>(count) : 0;
    }
    void wait_for_end() {
        while (!receive(4096).empty()) {
        }
    }
    /// Ends the connection with a reset instead of a farewell.
    void reset() {
        const linger hard{1, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    /// A small window: large writes of the client soon find no room.
    void shrink_receive_buffer() {
        const int size = 128 << 10;
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }

    /// One request header; type 0xffff when the client ended.
    struct Request {
        std::uint16_t flags = 0;
        std::uint16_t type = 0xffff;
        std::uint64_t handle = 0;
        std::uint64_t offset = 0;
        std::uint32_t length = 0;
    };
    Request request() {
        const auto bytes = receive(request_size);
        if (bytes.size() != request_size) return {};
        return {
            load_big_endian<std::uint16_t>(&bytes[4]), load_big_endian<std::uint16_t>(&bytes[6]),
            load_big_endian<std::uint64_t>(&bytes[8]), load_big_endian<std::uint64_t>(&bytes[16]),
            load_big_endian<std::uint32_t>(&bytes[24])};
    }
    /// A whole negotiation: greeting, client flags, options, and the answer to GO. What comes
    /// before GO is not supported.
    void negotiate(const Wire& answer) {
        send(greeting());
        (void)receive(4);
        for (;;) {
            const auto header = receive(16);
            if (header.size() != 16) return;
            (void)receive(load_big_endian<std::uint32_t>(&header[12]));
            const auto option = static_cast<Option>(load_big_endian<std::uint32_t>(&header[8]));
            if (option == Option::go) break;
            send(option_reply_header(static_cast<std::uint32_t>(OptionReply::error_unsupported), 0,
                                     option));
        }
        send(answer);
    }

  private:
    int socket_;
};

/// Serves one connection by the script, in a thread of its own; closes it when the script returns.
class ScriptedServer {
  public:
    using Script = std::function<void(Peer&)>;

    explicit ScriptedServer(Script script) : script_(std::move(script)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, generic, length) != 0 || ::listen(listener_, 4) != 0 ||
            ::getsockname(listener_, generic, &length) != 0)
            throw std::runtime_error("no socket for the scripted server");
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ScriptedServer(const ScriptedServer&) = delete;
    ScriptedServer& operator=(const ScriptedServer&) = delete;
    ~ScriptedServer() {
        // Ends accept() when no client ever came.
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        ::close(listener_);
    }

    [[nodiscard]] Address address() const { return {.host = "127.0.0.1", .port = port_}; }

  private:
    void serve() {
        const int client = ::accept(listener_, nullptr, nullptr);
        if (client < 0) return;
        // A test's mistake ends as a failure, not as a hang.
        const timeval patience{20, 0};
        ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        const int on = 1;
        ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Peer peer(client);
        script_(peer);
        ::close(client);
    }

    Script script_;
    int listener_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

}  // namespace wnbd::nbd::test
