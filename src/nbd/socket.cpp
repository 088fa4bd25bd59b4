// SPDX-License-Identifier: LGPL-2.1-or-later
// What is the same on every system: ownership, and the walk over a name's addresses.
#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

#include <algorithm>
#include <utility>

#include "nbd/socket.h"
#include "nbd/socket_system.h"

namespace wnbd::nbd {
namespace {

std::chrono::milliseconds time_left(Clock::time_point deadline) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    return std::max(left, std::chrono::milliseconds(0));
}

/// One address of the name.
Result<Socket, Fault> connect_address(const addrinfo& at, Clock::time_point deadline) {
    const auto failed = [](int error) {
        return Failure{Fault{.code = FaultCode::connect_failed,
                             .got = static_cast<std::uint64_t>(error),
                             .text = system_error_text(error)}};
    };
    Socket socket(
        static_cast<Socket::Native>(::socket(at.ai_family, at.ai_socktype, at.ai_protocol)));
    if (!socket.open()) return failed(system::last_error());
    if (const int error = system::make_non_blocking(socket.native()); error != 0)
        return failed(error);
    if (::connect(socket.native(), at.ai_addr, static_cast<socklen_t>(at.ai_addrlen)) != 0) {
        int error = system::last_error();
        if (!system::connect_pending(error)) return failed(error);
        bool timed_out = false;
        error = system::wait_connected(socket.native(), time_left(deadline), timed_out);
        if (timed_out)
            return Failure{Fault{.code = FaultCode::timed_out, .step = "while connecting"}};
        if (error != 0) return failed(error);
    }
    const int on = 1;
    const auto* const value = reinterpret_cast<const char*>(&on);
    // Batches are ours to make; and a peer that vanished without a word is to be noticed some day.
    if (::setsockopt(socket.native(), IPPROTO_TCP, TCP_NODELAY, value, sizeof on) != 0 ||
        ::setsockopt(socket.native(), SOL_SOCKET, SO_KEEPALIVE, value, sizeof on) != 0)
        return failed(system::last_error());
    return socket;
}

}  // namespace

Socket::Socket(Socket&& other) noexcept : native_(std::exchange(other.native_, invalid)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(native_, other.native_);
    return *this;
}

Socket::~Socket() {
    if (open()) system::close(native_);
}

Waker::~Waker() {
    system::close(native_);
}

Result<Socket, Fault> connect_to(const Address& address, Clock::time_point deadline) {
    const auto began = Clock::now();
    if (const int error = system::start(); error != 0)
        return Failure{Fault{.code = FaultCode::socket_failed,
                             .step = "before it began",
                             .text = system_error_text(error)}};
    if (!address.socket_path.empty()) return system::connect_unix(address.socket_path);

    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_protocol = IPPROTO_TCP;
    addrinfo* found = nullptr;
    const int error =
        ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
    if (error != 0) {
#if defined(_WIN32)
        const auto text = system_error_text(error);
#else
        const std::string text = ::gai_strerror(error);
#endif
        return Failure{Fault{.code = FaultCode::resolve_failed,
                             .got = static_cast<std::uint64_t>(error),
                             .text = text}};
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(
        found, [](addrinfo* list) { ::freeaddrinfo(list); });
    Fault last{.code = FaultCode::connect_failed, .text = "the name has no address"};
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
        auto socket = connect_address(*at, deadline);
        if (socket) return socket;
        last = socket.error();
    }
    if (last.code == FaultCode::timed_out)
        last.expected = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - began).count());
    return Failure{last};
}

}  // namespace wnbd::nbd
