// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/dial.h"

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
// After the sockets' own headers.
#include <afunix.h>
#else
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "nbd/socket_system.h"

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;
using system::ConnectWatch;

/// The next address is tried beside one that has been silent for so long (RFC 8305, "Connection
/// Attempt Delay").
constexpr milliseconds head_start{250};
/// A Unix socket's listener whose queue is full is asked again after so long.
constexpr milliseconds queue_retry{20};

Failure<Fault> cancelled() {
    return Failure{Fault{.code = FaultCode::closed}};
}
Failure<Fault> timed_out() {
    return Failure{Fault{.code = FaultCode::timed_out, .step = "while connecting"}};
}
Fault connect_fault(int error) {
    return {.code = FaultCode::connect_failed,
            .got = static_cast<std::uint64_t>(error),
            .text = system_error_text(error)};
}

milliseconds time_until(Clock::time_point time) {
    // Rounded up: a wait that ends just before its time would only be repeated.
    return std::max(std::chrono::ceil<milliseconds>(time - Clock::now()), milliseconds(0));
}

/// An attempt to connect: on its way, or over.
struct Attempt {
    Socket socket;
    ConnectWatch::State state = ConnectWatch::State::failed;
    int error = 0;
};

Attempt begin(ConnectWatch& watch, int family, const sockaddr* address, std::size_t size) {
    Attempt attempt;
    attempt.socket = Socket(static_cast<Socket::Native>(::socket(family, SOCK_STREAM, 0)));
    if (!attempt.socket.open()) {
        attempt.error = system::last_error();
        return attempt;
    }
    const auto native = attempt.socket.native();
    attempt.error = system::make_non_blocking(native);
    if (attempt.error == 0) attempt.error = watch.add(native);
    if (attempt.error != 0) return attempt;
    if (::connect(native, address, static_cast<socklen_t>(size)) == 0) {
        attempt.state = ConnectWatch::State::connected;
    } else {
        attempt.error = system::last_error();
        if (system::connect_pending(attempt.error)) attempt.state = ConnectWatch::State::pending;
    }
    return attempt;
}

}  // namespace

Dialer::Dialer() {
    watch_error_ = system::start();
    if (watch_error_ != 0) return;
    watch_ = ConnectWatch::create();
    if (watch_ == nullptr) watch_error_ = system::last_error();
}
Dialer::~Dialer() = default;

void Dialer::cancel() noexcept {
    resolver_.cancel();
    if (watch_ != nullptr) watch_->cancel();
}

Result<Socket, Fault> Dialer::dial(const Address& address, Clock::time_point deadline) {
    const auto began = Clock::now();
    if (watch_ == nullptr)
        return Failure{Fault{.code = FaultCode::socket_failed,
                             .got = static_cast<std::uint64_t>(watch_error_),
                             .step = "before it began",
                             .text = system_error_text(watch_error_)}};
    const auto connect = [&]() -> Result<Socket, Fault> {
        if (!address.socket_path.empty()) return connect_unix(address.socket_path, deadline);
        const auto list = resolver_.find(address.host, address.port, deadline);
        if (!list) return Failure{list.error()};
        return connect_any(list.value().get(), deadline);
    };
    auto socket = connect();
    if (socket) return socket;
    auto fault = socket.error();
    if (fault.code == FaultCode::timed_out)
        fault.expected = static_cast<std::uint64_t>(
            std::chrono::duration_cast<milliseconds>(deadline - began).count());
    return Failure{std::move(fault)};
}

Result<Socket, Fault> Dialer::connect_any(const addrinfo* first, Clock::time_point deadline) {
    using State = ConnectWatch::State;
    Fault last{.code = FaultCode::connect_failed, .text = "the name has no address"};
    const auto connected = [&](Socket& socket) -> Result<Socket, Fault> {
        watch_->remove(socket.native());
        if (const int error = system::set_tcp_options(socket.native()); error != 0)
            return Failure{connect_fault(error)};
        return std::move(socket);
    };
    std::vector<Socket> pending;
    auto next_start = Clock::now();
    for (const addrinfo* next = first;;) {
        if (watch_->cancelled()) return cancelled();
        const bool room = pending.size() < ConnectWatch::sockets_max;
        if (next != nullptr && room && (pending.empty() || Clock::now() >= next_start)) {
            auto attempt = begin(*watch_, next->ai_family, next->ai_addr, next->ai_addrlen);
            if (attempt.state == State::connected) return connected(attempt.socket);
            if (attempt.state == State::pending)
                pending.push_back(std::move(attempt.socket));
            else
                last = connect_fault(attempt.error);
            next = next->ai_next;
            next_start = Clock::now() + head_start;
            continue;
        }
        if (pending.empty()) return Failure{std::move(last)};
        if (Clock::now() >= deadline) return timed_out();
        const bool more = next != nullptr && room;
        watch_->wait(pending, time_until(more ? std::min(next_start, deadline) : deadline));
        for (auto socket = pending.begin(); socket != pending.end();) {
            int error = 0;
            const auto state = watch_->state(socket->native(), error);
            if (state == State::connected) return connected(*socket);
            if (state == State::pending) {
                ++socket;
                continue;
            }
            last = connect_fault(error);
            next_start = Clock::now();
            socket = pending.erase(socket);
        }
    }
}

Result<Socket, Fault> Dialer::connect_unix(const std::string& path, Clock::time_point deadline) {
    using State = ConnectWatch::State;
    sockaddr_un address{};
    // A path ends with a NUL. An abstract name begins with one, and ends with its address: any NUL
    // behind it would be a part of it.
    const bool abstract = path.starts_with('\0');
    const auto size_max = sizeof address.sun_path - (abstract ? 0 : 1);
    if (path.size() > size_max)
        return Failure{
            Fault{.code = FaultCode::name_too_long, .got = path.size(), .expected = size_max}};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    const auto size = abstract ? offsetof(sockaddr_un, sun_path) + path.size() : sizeof address;
    for (;;) {
        if (watch_->cancelled()) return cancelled();
        auto attempt = begin(*watch_, AF_UNIX, reinterpret_cast<const sockaddr*>(&address), size);
        while (attempt.state == State::pending) {
            if (watch_->cancelled()) return cancelled();
            if (Clock::now() >= deadline) return timed_out();
            watch_->wait({&attempt.socket, 1}, time_until(deadline));
            attempt.state = watch_->state(attempt.socket.native(), attempt.error);
        }
        if (attempt.state == State::connected) {
            watch_->remove(attempt.socket.native());
            return std::move(attempt.socket);
        }
        if (system::no_unix_sockets(attempt.error))
            return Failure{Fault{.code = FaultCode::unsupported,
                                 .text = "Unix sockets on this system: Windows has them since "
                                         "version 1803 (Server 2019), Wine has none; use TCP"}};
        if (!system::queue_full(attempt.error)) return Failure{connect_fault(attempt.error)};
        if (Clock::now() >= deadline) return timed_out();
        watch_->wait({}, std::min(queue_retry, time_until(deadline)));
    }
}

}  // namespace wnbd::nbd
