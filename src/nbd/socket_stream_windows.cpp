// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "nbd/socket_stream.h"
#include "nbd/spin.h"

namespace wnbd::nbd {
namespace {

using Status = IoResult::Status;
using std::chrono::milliseconds;

/// What a full socket still takes in one go; the system sends it when there is room.
constexpr std::size_t overflow_size = 64U << 10;

/// The system did not send all that it had taken: what follows would tear the stream.
constexpr int bytes_lost = WSAECONNABORTED;

enum Key : ULONG_PTR { of_socket, of_wake };

HANDLE handle_of(const Socket& socket) noexcept {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): a socket of Windows is a handle
    return reinterpret_cast<HANDLE>(socket.native());
}

/// One overlapped call at a time. Its memory belongs to the system while it is pending.
struct Operation {
    OVERLAPPED overlapped{};
    std::atomic<bool> pending{false};
};

}  // namespace

struct SocketStream::System {
    explicit System(Socket connected) noexcept : socket(std::move(connected)) {}
    System(const System&) = delete;
    System& operator=(const System&) = delete;
    ~System();

    Socket socket;
    HANDLE port = nullptr;
    bool skips_port = false;  // what succeeds at once puts nothing into the port
    std::atomic<bool> shut{false};
    std::atomic<bool> wake_posted{false};

    // The receiving thread's: a receive of no bytes, which completes when there is something.
    Operation probe;
    SpinChoice spin;

    // Issued by the sending thread, completed by the waiting one.
    Operation overflow;
    DWORD overflow_given = 0;  // bytes
    std::atomic<int> overflow_error{0};
    std::array<std::uint8_t, overflow_size> overflow_bytes;

    [[nodiscard]] bool start() noexcept;
    [[nodiscard]] IoResult send_overflow(std::span<const IoSlice> slices) noexcept;
    [[nodiscard]] bool probe_now() noexcept;
    void take(const OVERLAPPED_ENTRY& entry, Ready& ready) noexcept;
    [[nodiscard]] Ready poll(DWORD timeout, bool room) noexcept;
    [[nodiscard]] Ready poll_spinning(bool room) noexcept;

    static bool any(const Ready& ready) noexcept {
        return ready.readable || ready.writable || ready.woken;
    }
};

bool SocketStream::System::start() noexcept {
    port = ::CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, 1);
    if (port == nullptr || ::CreateIoCompletionPort(handle_of(socket), port, of_socket, 0) != port)
        return false;
    skips_port = ::SetFileCompletionNotificationModes(
                     handle_of(socket),
                     FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE) != 0;
    return true;
}

/// Nobody else is in here any more. The system may still be about to write into our operations: it
/// is told to stop, and its word that it has is waited for.
SocketStream::System::~System() {
    if (port == nullptr) return;
    if (socket.open()) (void)::CancelIoEx(handle_of(socket), nullptr);
    Ready ignored;
    while (probe.pending || overflow.pending) {
        OVERLAPPED_ENTRY entry{};
        ULONG count = 0;
        if (!::GetQueuedCompletionStatusEx(port, &entry, 1, &count, INFINITE, FALSE)) break;
        take(entry, ignored);
    }
    ::CloseHandle(port);
}

void SocketStream::System::take(const OVERLAPPED_ENTRY& entry, Ready& ready) noexcept {
    if (entry.lpCompletionKey == of_wake) {
        wake_posted = false;
        ready.woken = true;
    } else if (entry.lpOverlapped == &probe.overlapped) {
        probe.pending = false;
        // Also when it failed: the next receive() tells.
        ready.readable = true;
    } else {
        DWORD sent = 0;
        DWORD flags = 0;
        if (!::WSAGetOverlappedResult(socket.native(), &overflow.overlapped, &sent, FALSE, &flags))
            overflow_error = ::WSAGetLastError();
        else if (sent != overflow_given)
            overflow_error = bytes_lost;
        overflow.pending.store(false, std::memory_order_release);
    }
}

/// True when there is something to receive now. Else a completion will say so.
bool SocketStream::System::probe_now() noexcept {
    if (probe.pending) return false;
    probe.overlapped = {};
    probe.pending = true;
    WSABUF nothing{};
    DWORD received = 0;
    DWORD flags = 0;
    const bool done =
        ::WSARecv(socket.native(), &nothing, 1, &received, &flags, &probe.overlapped, nullptr) == 0;
    if (done ? !skips_port : ::WSAGetLastError() == WSA_IO_PENDING) return false;
    probe.pending = false;
    return true;
}

Ready SocketStream::System::poll(DWORD timeout, bool room) noexcept {
    std::array<OVERLAPPED_ENTRY, 4> entries;
    ULONG count = 0;
    if (!::GetQueuedCompletionStatusEx(port, entries.data(), entries.size(), &count, timeout,
                                       FALSE))
        count = 0;
    Ready ready{};
    for (ULONG i = 0; i < count; ++i)
        take(entries[i], ready);
    ready.writable = room && !overflow.pending.load(std::memory_order_relaxed);
    return ready;
}

Ready SocketStream::System::poll_spinning(bool room) noexcept {
    const auto end = Clock::now() + SpinChoice::time_max;
    do {
        const auto ready = poll(0, room);
        if (any(ready)) return ready;
        // A server on this CPU gets it.
        ::SwitchToThread();
    } while (Clock::now() < end);
    return {};
}

IoResult SocketStream::System::send_overflow(std::span<const IoSlice> slices) noexcept {
    std::size_t taken = 0;
    for (const auto& slice : slices) {
        const auto part = std::min(slice.size, overflow_bytes.size() - taken);
        std::memcpy(overflow_bytes.data() + taken, slice.data, part);
        taken += part;
    }
    overflow_given = static_cast<DWORD>(taken);
    overflow.overlapped = {};
    overflow.pending = true;
    WSABUF buffer{overflow_given, reinterpret_cast<char*>(overflow_bytes.data())};
    DWORD sent = 0;
    const bool done =
        ::WSASend(socket.native(), &buffer, 1, &sent, 0, &overflow.overlapped, nullptr) == 0;
    const int error = done ? 0 : ::WSAGetLastError();
    if (error == WSA_IO_PENDING || (done && !skips_port)) return {.bytes = taken};
    overflow.pending = false;
    // What is not sent now the caller keeps.
    if (error == 0 && sent > 0) return {.bytes = std::min<std::size_t>(sent, taken)};
    if (error == 0) return {.status = Status::failed, .error = bytes_lost};
    if (error == WSAEWOULDBLOCK) return {.status = Status::would_block};
    return {.status = Status::failed, .error = error};
}

Result<std::unique_ptr<SocketStream>, Fault> SocketStream::create(Socket socket) {
    auto system = std::make_unique<System>(std::move(socket));
    if (!system->start()) {
        const auto error = static_cast<int>(::GetLastError());
        return Failure{Fault{.code = FaultCode::socket_failed,
                             .got = static_cast<std::uint64_t>(error),
                             .step = "before it began",
                             .text = system_error_text(error)}};
    }
    return std::unique_ptr<SocketStream>(new SocketStream(std::move(system)));
}

SocketStream::SocketStream(std::unique_ptr<System> system) noexcept : system_(std::move(system)) {}
SocketStream::~SocketStream() = default;

IoResult SocketStream::send(std::span<const IoSlice> slices) noexcept {
    auto& system = *system_;
    // What was taken before goes out before anything else.
    if (system.overflow.pending.load(std::memory_order_acquire))
        return {.status = Status::would_block};
    if (const int error = system.overflow_error; error != 0)
        return {.status = Status::failed, .error = error};
    const auto sent = system.socket.send(slices);
    if (sent.status != Status::would_block) return sent;
    // Only an operation that is pending tells when there is room again.
    return system.send_overflow(slices);
}

IoResult SocketStream::receive(std::span<const IoSlice> slices) noexcept {
    return system_->socket.receive(slices);
}

Ready SocketStream::wait(const WaitFor& what) noexcept {
    auto& system = *system_;
    const bool for_ever = what.time_max.count() < 0;
    const auto end = for_ever ? Clock::time_point::max() : Clock::now() + what.time_max;
    for (bool may_spin = what.soon;; may_spin = false) {
        const bool readable = system.shut || system.probe_now();
        // What is known needs no waiting, but a call may be there, too.
        auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
        left = std::clamp<long long>(left, 0, INFINITE - 1LL);
        auto ready = readable ? system.poll(0, what.room) : Ready{};
        ready.readable = ready.readable || readable;
        ready.writable = what.room && !system.overflow.pending.load(std::memory_order_acquire);
        if (System::any(ready)) return ready;
        if (may_spin && left != 0 && system.spin.worth_it()) {
            ready = system.poll_spinning(what.room);
            system.spin.learn(System::any(ready));
            if (System::any(ready)) return ready;
        }
        ready = system.poll(for_ever ? INFINITE : static_cast<DWORD>(left), what.room);
        // The end of an operation that nobody asked for is nothing to wake up for.
        if (System::any(ready) || left == 0) return ready;
    }
}

void SocketStream::wake() noexcept {
    if (system_->wake_posted.exchange(true)) return;
    if (!::PostQueuedCompletionStatus(system_->port, 0, of_wake, nullptr))
        system_->wake_posted = false;
}

void SocketStream::shut_down() noexcept {
    system_->shut = true;
    system_->socket.shutdown_both();
    // A pending send would outlive the shutdown.
    (void)::CancelIoEx(handle_of(system_->socket), nullptr);
    wake();
}
void SocketStream::shut_down_send() noexcept {
    system_->socket.shutdown_send();
}

}  // namespace wnbd::nbd
