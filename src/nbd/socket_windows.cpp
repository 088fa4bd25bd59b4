// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>
#include <winsock2.h>
#include <ws2tcpip.h>
// After the sockets' own headers.
#include <mstcpip.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <utility>

#include "nbd/socket.h"
#include "nbd/socket_system.h"

namespace wnbd::nbd {
namespace {

struct Buffers {
    std::array<WSABUF, max_slices> list;
    DWORD count;

    explicit Buffers(std::span<const IoSlice> slices) noexcept
        : count(static_cast<DWORD>(std::min(slices.size(), max_slices))) {
        for (DWORD i = 0; i < count; ++i)
            list[i] = {static_cast<ULONG>(std::min<std::size_t>(slices[i].size, 0x7fffffff)),
                       reinterpret_cast<char*>(slices[i].data)};
    }
};

IoResult failed_call() noexcept {
    const int error = ::WSAGetLastError();
    if (error == WSAEWOULDBLOCK) return {.status = IoResult::Status::would_block};
    return {.status = IoResult::Status::failed, .error = error};
}

}  // namespace

FaultText explain_system_error(int error) noexcept {
    char text[256] = "";
    auto length =
        ::FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr,
                         static_cast<DWORD>(error), MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US),
                         text, sizeof text, nullptr);
    while (length > 0 && (text[length - 1] <= ' ' || text[length - 1] == '.'))
        text[--length] = '\0';
    if (length == 0) (void)std::snprintf(text, sizeof text, "error %d", error);
    for (char& byte : text)
        if (byte != '\0' && (byte < 0x20 || byte > 0x7e)) byte = '?';
    return text;
}

IoResult Socket::send(std::span<const IoSlice> slices) noexcept {
    Buffers buffers(slices);
    DWORD sent = 0;
    if (::WSASend(native_, buffers.list.data(), buffers.count, &sent, 0, nullptr, nullptr) != 0)
        return failed_call();
    return {.bytes = sent};
}

IoResult Socket::receive(std::span<const IoSlice> slices) noexcept {
    Buffers buffers(slices);
    DWORD received = 0;
    DWORD flags = 0;
    if (::WSARecv(native_, buffers.list.data(), buffers.count, &received, &flags, nullptr,
                  nullptr) != 0)
        return failed_call();
    if (received == 0) return {.status = IoResult::Status::closed};
    return {.bytes = received};
}

void Socket::shutdown_both() noexcept {
    // What has not gone out yet must never do so: the system would go on sending it after close().
    const linger none{.l_onoff = 1, .l_linger = 0};
    (void)::setsockopt(native_, SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&none),
                       sizeof none);
    ::shutdown(native_, SD_BOTH);
}
void Socket::shutdown_send() noexcept {
    ::shutdown(native_, SD_SEND);
}

namespace system {

int start() noexcept {
    // Thread-safe by the language; ended by the process's end.
    static const int error = [] {
        WSADATA data;
        return ::WSAStartup(MAKEWORD(2, 2), &data);
    }();
    return error;
}

int last_error() noexcept {
    return ::WSAGetLastError();
}
void close(Socket::Native native) noexcept {
    ::closesocket(native);
}

int make_non_blocking(Socket::Native native) noexcept {
    u_long on = 1;
    if (::ioctlsocket(native, static_cast<long>(FIONBIO), &on) != 0) return ::WSAGetLastError();
    // A child process has no business with the server.
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a socket of Windows is a handle
    ::SetHandleInformation(reinterpret_cast<HANDLE>(native), HANDLE_FLAG_INHERIT, 0);
    return 0;
}

bool connect_pending(int error) noexcept {
    return error == WSAEWOULDBLOCK;
}

bool no_unix_sockets(int error) noexcept {
    return error == WSAEAFNOSUPPORT;
}

bool queue_full(int) noexcept {
    return false;
}

int set_tcp_options(Socket::Native native) noexcept {
    const BOOL on = TRUE;
    const auto* const value = reinterpret_cast<const char*>(&on);
    tcp_keepalive probes{
        .onoff = 1,
        .keepalivetime = static_cast<ULONG>(std::chrono::milliseconds(keep_alive::idle).count()),
        .keepaliveinterval =
            static_cast<ULONG>(std::chrono::milliseconds(keep_alive::interval).count())};
    DWORD returned = 0;
    if (::setsockopt(native, IPPROTO_TCP, TCP_NODELAY, value, sizeof on) != 0 ||
        ::setsockopt(native, SOL_SOCKET, SO_KEEPALIVE, value, sizeof on) != 0 ||
        ::WSAIoctl(native, SIO_KEEPALIVE_VALS, &probes, sizeof probes, nullptr, 0, &returned,
                   nullptr, nullptr) != 0)
        return ::WSAGetLastError();
    return 0;
}

void stay_loaded() noexcept {
    HMODULE module = nullptr;
    (void)::GetModuleHandleExW(
        GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
        reinterpret_cast<const wchar_t*>(&stay_loaded), &module);
}

struct ConnectWatch::Native {
    WSAEVENT changed = ::WSACreateEvent();  // of any of the sockets
    WSAEVENT cancel = ::WSACreateEvent();
    std::atomic<bool> cancelled{false};

    ~Native() {
        for (const auto event : {changed, cancel})
            if (event != WSA_INVALID_EVENT) ::WSACloseEvent(event);
    }
};

ConnectWatch::ConnectWatch(std::unique_ptr<Native> native) noexcept : native_(std::move(native)) {}
ConnectWatch::~ConnectWatch() = default;

std::unique_ptr<ConnectWatch> ConnectWatch::create() {
    auto native = std::make_unique<Native>();
    if (native->changed == WSA_INVALID_EVENT || native->cancel == WSA_INVALID_EVENT) return nullptr;
    return std::unique_ptr<ConnectWatch>(new ConnectWatch(std::move(native)));
}

void ConnectWatch::cancel() noexcept {
    native_->cancelled = true;
    ::WSASetEvent(native_->cancel);
}
bool ConnectWatch::cancelled() const noexcept {
    return native_->cancelled;
}

int ConnectWatch::add(Socket::Native native) noexcept {
    const bool added = ::WSAEventSelect(native, native_->changed, FD_CONNECT) == 0;
    return added ? 0 : ::WSAGetLastError();
}
void ConnectWatch::remove(Socket::Native native) noexcept {
    (void)::WSAEventSelect(native, nullptr, 0);
}

void ConnectWatch::wait(std::span<const Socket>, std::chrono::milliseconds time_max) noexcept {
    const WSAEVENT events[] = {native_->changed, native_->cancel};
    constexpr std::chrono::milliseconds longest{1 << 30};
    const auto time = static_cast<DWORD>(std::min(time_max, longest).count());
    (void)::WSAWaitForMultipleEvents(2, events, FALSE, time, FALSE);
    // Whoever waits looks at each socket afterwards: what comes from now on sets it again.
    ::WSAResetEvent(native_->changed);
}

// Not WSAEnumNetworkEvents: it tells once, and forgets.
ConnectWatch::State ConnectWatch::state(Socket::Native native, int& error) noexcept {
    fd_set writable;
    fd_set failed;
    FD_ZERO(&writable);
    FD_ZERO(&failed);
    FD_SET(native, &writable);
    FD_SET(native, &failed);
    timeval now{};
    const int ready = ::select(0, nullptr, &writable, &failed, &now);
    if (ready == 0) return State::pending;
    if (ready < 0) {
        error = ::WSAGetLastError();
        return State::failed;
    }
    int length = sizeof error;
    if (::getsockopt(native, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &length) != 0)
        error = ::WSAGetLastError();
    return error == 0 ? State::connected : State::failed;
}

}  // namespace system
}  // namespace wnbd::nbd
