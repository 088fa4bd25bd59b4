// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

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

std::string system_error_text(int error) {
    return std::generic_category().message(error);
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
    ::shutdown(native_, SHUT_RDWR);
}
void Socket::shutdown_send() noexcept {
    ::shutdown(native_, SHUT_WR);
}

Result<std::unique_ptr<Waker>, Fault> Waker::create() {
    const int native = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (native < 0)
        return Failure{Fault{.code = FaultCode::socket_failed,
                             .step = "before it began",
                             .text = system_error_text(errno)}};
    return std::unique_ptr<Waker>(new Waker(native));
}

void Waker::wake() noexcept {
    // A full counter means that a wake-up is pending anyway.
    const eventfd_t one = 1;
    (void)::eventfd_write(native_, one);
}

void Waker::drain() noexcept {
    eventfd_t count = 0;
    (void)::eventfd_read(native_, &count);
}

Ready wait_for(const Socket& socket, bool readable, bool writable, Waker* waker,
               std::chrono::milliseconds time_max) noexcept {
    pollfd polled[2]{};
    polled[0].fd = socket.native();
    polled[0].events = static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
    polled[1].fd = waker != nullptr ? waker->native() : -1;
    polled[1].events = POLLIN;
    const int timeout = time_max.count() < 0 ? -1 : static_cast<int>(time_max.count());
    if (::poll(polled, 2, timeout) <= 0) return {};
    const auto got = polled[0].revents;
    return {.readable = (got & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) != 0,
            .writable = (got & (POLLOUT | POLLERR)) != 0,
            .woken = polled[1].revents != 0};
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

int wait_connected(Socket::Native native, std::chrono::milliseconds time_max,
                   bool& timed_out) noexcept {
    const auto deadline = Clock::now() + time_max;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd polled{.fd = native, .events = POLLOUT, .revents = 0};
        const int ready = ::poll(&polled, 1, static_cast<int>(std::max<long>(left.count(), 0)));
        if (ready == 0) {
            timed_out = true;
            return ETIMEDOUT;
        }
        if (ready > 0) break;
        if (errno != EINTR) return errno;
    }
    int error = 0;
    socklen_t length = sizeof error;
    if (::getsockopt(native, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
    return error;
}

Result<Socket, Fault> connect_unix(const std::string& path) {
    const auto failed = [](int error) {
        return Failure{Fault{.code = FaultCode::connect_failed,
                             .got = static_cast<std::uint64_t>(error),
                             .text = system_error_text(error)}};
    };
    sockaddr_un address{};
    if (path.size() >= sizeof address.sun_path)
        return Failure{Fault{.code = FaultCode::name_too_long,
                             .got = path.size(),
                             .expected = sizeof address.sun_path - 1}};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    Socket socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket.open()) return failed(errno);
    if (::connect(socket.native(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0)
        return failed(errno);
    if (const int error = make_non_blocking(socket.native()); error != 0) return failed(error);
    return socket;
}

}  // namespace system
}  // namespace wnbd::nbd
