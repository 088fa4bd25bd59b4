// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "nbd/socket.h"
#include "nbd/socket_system.h"

namespace wnbd::nbd {
namespace {

/// A msghdr over the slices; lives as long as this object.
struct Message {
    std::array<iovec, max_slices> vectors;
    msghdr header{};

    explicit Message(std::span<const IoSlice> slices) noexcept {
        const auto count = std::min(slices.size(), max_slices);
        for (std::size_t i = 0; i < count; ++i)
            vectors[i] = {slices[i].data, slices[i].size};
        header.msg_iov = vectors.data();
        header.msg_iovlen = count;
    }
};

IoResult failed_call() noexcept {
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)
        return {.status = IoResult::Status::would_block};
    return {.status = IoResult::Status::failed, .error = error};
}

}  // namespace

FaultText explain_system_error(int error) noexcept {
    std::array<char, 256> room;
    return ::strerror_r(error, room.data(), room.size());
}

IoResult Socket::send(std::span<const IoSlice> slices) noexcept {
    const Message message(slices);
    const auto sent = ::sendmsg(native_, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return failed_call();
    return {.bytes = static_cast<std::size_t>(sent)};
}

IoResult Socket::receive(std::span<const IoSlice> slices) noexcept {
    ssize_t received = 0;
    if (slices.size() == 1) {
        received = ::recv(native_, slices[0].data, slices[0].size, MSG_DONTWAIT);
    } else {
        Message message(slices);
        received = ::recvmsg(native_, &message.header, MSG_DONTWAIT);
    }
    if (received < 0) return failed_call();
    if (received == 0) return {.status = IoResult::Status::closed};
    return {.bytes = static_cast<std::size_t>(received)};
}

void Socket::shutdown_both() noexcept {
    // What has not gone out yet must never do so: the system would go on sending it after close().
    const linger none{.l_onoff = 1, .l_linger = 0};
    (void)::setsockopt(native_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    ::shutdown(native_, SHUT_RDWR);
}
void Socket::shutdown_send() noexcept {
    ::shutdown(native_, SHUT_WR);
}

namespace system {

int start() noexcept {
    return 0;
}
int last_error() noexcept {
    return errno;
}
void close(Socket::Native native) noexcept {
    ::close(native);
}

int make_non_blocking(Socket::Native native) noexcept {
    const int flags = ::fcntl(native, F_GETFL);
    if (flags < 0 || ::fcntl(native, F_SETFL, flags | O_NONBLOCK) < 0) return errno;
    return ::fcntl(native, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

bool connect_pending(int error) noexcept {
    return error == EINPROGRESS || error == EINTR;
}

bool no_unix_sockets(int) noexcept {
    return false;
}

bool queue_full(int error) noexcept {
    return error == EAGAIN;
}

int set_tcp_options(Socket::Native native) noexcept {
    const auto set = [native](int level, int name, int value) {
        return ::setsockopt(native, level, name, &value, sizeof value) == 0;
    };
    const bool all = set(IPPROTO_TCP, TCP_NODELAY, 1) && set(SOL_SOCKET, SO_KEEPALIVE, 1) &&
                     set(IPPROTO_TCP, TCP_KEEPIDLE, int{keep_alive::idle.count()}) &&
                     set(IPPROTO_TCP, TCP_KEEPINTVL, int{keep_alive::interval.count()}) &&
                     set(IPPROTO_TCP, TCP_KEEPCNT, keep_alive::count);
    return all ? 0 : errno;
}

void stay_loaded() noexcept {
    // A library with threads is nothing that gets unloaded here: glibc's own would not survive it.
}

struct ConnectWatch::Native {
    int cancel = -1;  // an eventfd whose count is never taken back
    std::atomic<bool> cancelled{false};

    ~Native() {
        if (cancel >= 0) ::close(cancel);
    }
};

ConnectWatch::ConnectWatch(std::unique_ptr<Native> native) noexcept : native_(std::move(native)) {}
ConnectWatch::~ConnectWatch() = default;

std::unique_ptr<ConnectWatch> ConnectWatch::create() {
    auto native = std::make_unique<Native>();
    native->cancel = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (native->cancel < 0) return nullptr;
    return std::unique_ptr<ConnectWatch>(new ConnectWatch(std::move(native)));
}

void ConnectWatch::cancel() noexcept {
    native_->cancelled = true;
    (void)::eventfd_write(native_->cancel, 1);
}
bool ConnectWatch::cancelled() const noexcept {
    return native_->cancelled;
}

// poll() takes the sockets as they are.
int ConnectWatch::add(Socket::Native) noexcept {
    return 0;
}
void ConnectWatch::remove(Socket::Native) noexcept {}

void ConnectWatch::wait(std::span<const Socket> pending,
                        std::chrono::milliseconds time_max) noexcept {
    std::array<pollfd, sockets_max + 1> polled{};
    polled[0] = {.fd = native_->cancel, .events = POLLIN, .revents = 0};
    nfds_t count = 1;
    for (const auto& socket : pending.first(std::min(pending.size(), sockets_max)))
        polled[count++] = {.fd = socket.native(), .events = POLLOUT, .revents = 0};
    constexpr std::chrono::milliseconds longest{1 << 30};
    (void)::poll(polled.data(), count, static_cast<int>(std::min(time_max, longest).count()));
}

ConnectWatch::State ConnectWatch::state(Socket::Native native, int& error) noexcept {
    pollfd polled{.fd = native, .events = POLLOUT, .revents = 0};
    if (::poll(&polled, 1, 0) <= 0) return State::pending;
    socklen_t length = sizeof error;
    if (::getsockopt(native, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    return error == 0 ? State::connected : State::failed;
}

}  // namespace system
}  // namespace wnbd::nbd
