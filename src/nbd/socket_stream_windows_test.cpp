// SPDX-License-Identifier: LGPL-2.1-or-later
// The stream over a completion port and the dialler, against sockets of this process. Prints what
// is wrong; exits 0 when nothing is.
#include <winsock2.h>
#include <ws2tcpip.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "nbd/dial.h"
#include "nbd/socket_stream.h"

namespace wnbd::nbd {
namespace {

using namespace std::chrono_literals;
using Status = IoResult::Status;

int failures = 0;

void check(bool good, const char* what, int line) {
    if (good) return;
    std::printf("line %d: not so: %s\n", line, what);
    ++failures;
}
#define CHECK(condition) check((condition), #condition, __LINE__)

class Listener {
  public:
    Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int length = sizeof address_;
        auto* const generic = reinterpret_cast<sockaddr*>(&address_);
        CHECK(::bind(socket_.native(), generic, length) == 0);
        CHECK(::listen(socket_.native(), 16) == 0);
        CHECK(::getsockname(socket_.native(), generic, &length) == 0);
    }
    [[nodiscard]] Address address(const char* host = "127.0.0.1") const {
        return {.host = host, .port = ntohs(address_.sin_port)};
    }
    [[nodiscard]] Socket accept() const {
        return Socket(::accept(socket_.native(), nullptr, nullptr));
    }
    void close() { socket_ = Socket(); }

  private:
    Socket socket_;
    sockaddr_in address_{};
};

/// A stream, and the blocking socket at its other end.
struct Pair {
    Listener listener{};
    Socket peer{};
    std::unique_ptr<SocketStream> stream{};

    Pair() {
        Dialer dialer;
        auto socket = dialer.dial(listener.address(), Clock::now() + 20s);
        CHECK(socket.ok());
        peer = listener.accept();
        auto made = SocketStream::create(std::move(socket.value()));
        CHECK(made.ok());
        stream = std::move(made.value());
    }
    void peer_says(const char* text) const {
        const auto length = static_cast<int>(std::strlen(text));
        CHECK(::send(peer.native(), text, length, 0) == length);
    }
};

bool nothing(const Ready& ready) {
    return !ready.readable && !ready.writable && !ready.woken;
}

bool is_on(const Socket& socket, int level, int name) {
    BOOL value = FALSE;
    int size = sizeof value;
    return ::getsockopt(socket.native(), level, name, reinterpret_cast<char*>(&value), &size) ==
               0 &&
           value != FALSE;
}

void dialling() {
    Listener listener;
    Dialer dialer;
    const auto soon = Clock::now() + 20s;
    const auto dialled = dialer.dial(listener.address(), soon);
    CHECK(dialled.ok());
    if (dialled.ok()) {
        CHECK(is_on(dialled.value(), IPPROTO_TCP, TCP_NODELAY));
        CHECK(is_on(dialled.value(), SOL_SOCKET, SO_KEEPALIVE));
        DWORD flags = HANDLE_FLAG_INHERIT;
        // NOLINTNEXTLINE(performance-no-int-to-ptr): a socket of Windows is a handle
        CHECK(::GetHandleInformation(reinterpret_cast<HANDLE>(dialled.value().native()), &flags) !=
              0);
        CHECK((flags & HANDLE_FLAG_INHERIT) == 0);
    }
    CHECK(dialer.dial(listener.address("localhost"), soon).ok());
    listener.close();
    const auto refused = dialer.dial(listener.address(), soon);
    CHECK(!refused.ok() && refused.error().code == FaultCode::connect_failed);
    CHECK(!refused.ok() && refused.error().got == WSAECONNREFUSED);
    const auto no_unix = dialer.dial({.socket_path = "C:\\no\\such\\socket"}, soon);
    // Wine has no Unix sockets at all.
    CHECK(!no_unix.ok() && (no_unix.error().code == FaultCode::connect_failed ||
                            describe(no_unix.error()).find("use TCP") != std::string::npos));
    dialer.cancel();
    const auto cancelled = dialer.dial(listener.address(), soon);
    CHECK(!cancelled.ok() && cancelled.error().code == FaultCode::closed);
}

/// To a listener that never answers: its queue is full, or the system swallows the request.
void cancelling() {
    Dialer dialer;
    std::thread other([&] {
        std::this_thread::sleep_for(100ms);
        dialer.cancel();
    });
    // TEST-NET-1: no host has this address.
    const auto cancelled = dialer.dial({.host = "192.0.2.1"}, Clock::now() + 1h);
    CHECK(!cancelled.ok());
    other.join();
}

void waiting() {
    Pair pair;
    auto& stream = *pair.stream;
    CHECK(nothing(stream.wait({.time_max = 20ms})));
    CHECK(nothing(stream.wait({.soon = true, .time_max = 20ms})));
    CHECK(stream.wait({.room = true, .time_max = 10s}).writable);
    stream.wake();
    stream.wake();
    CHECK(stream.wait({.time_max = 10s}).woken);
    CHECK(nothing(stream.wait({.time_max = 20ms})));
    std::thread waker([&] { stream.wake(); });
    CHECK(stream.wait({}).woken);
    waker.join();

    std::array<std::uint8_t, 8> bytes{};
    const std::array<IoSlice, 2> scatter{{{bytes.data() + 4, 4}, {bytes.data(), 4}}};
    for (int i = 0; i < 20; ++i) {
        std::thread sender([&] { pair.peer_says("uvwxyz"); });
        CHECK(stream.wait({.soon = i % 2 == 0, .time_max = 10s}).readable);
        sender.join();
        CHECK(stream.receive(scatter).bytes == 6 && bytes[4] == 'u' && bytes[0] == 'y');
        CHECK(stream.receive(scatter).status == Status::would_block);
    }
    pair.peer_says("last");
    pair.peer = Socket();
    CHECK(stream.wait({.time_max = 10s}).readable);
    CHECK(stream.receive(scatter).bytes == 4);
    CHECK(stream.wait({.time_max = 10s}).readable);
    CHECK(stream.receive(scatter).status == Status::closed);
}

void shutting_down() {
    Pair pair;
    std::thread other([&] {
        std::this_thread::sleep_for(50ms);
        pair.stream->shut_down();
    });
    while (!pair.stream->wait({}).readable) {
    }
    other.join();
    std::array<std::uint8_t, 8> bytes{};
    const IoSlice slice{bytes.data(), bytes.size()};
    CHECK(pair.stream->receive({&slice, 1}).status != Status::ok);
    CHECK(pair.stream->send({&slice, 1}).status == Status::failed);
}

std::uint8_t byte_at(std::size_t place) {
    return static_cast<std::uint8_t>((place * 2654435761U) >> 13);
}

/// More than the socket takes, to a peer that reads late: all of it comes, in order.
void filling() {
    constexpr std::size_t total = 24U << 20;
    Pair pair;
    auto& stream = *pair.stream;
    std::vector<std::uint8_t> out(total);
    for (std::size_t i = 0; i < total; ++i)
        out[i] = byte_at(i);
    std::size_t wrong = 0;
    std::thread reader([&] {
        std::this_thread::sleep_for(200ms);
        std::vector<char> in(64U << 10);
        std::size_t at = 0;
        while (at < total) {
            const int got = ::recv(pair.peer.native(), in.data(), static_cast<int>(in.size()), 0);
            if (got <= 0) break;
            for (int i = 0; i < got; ++i)
                wrong +=
                    static_cast<std::uint8_t>(in[static_cast<std::size_t>(i)]) != byte_at(at++);
        }
        wrong += total - at;
    });
    std::size_t done = 0;
    unsigned waits = 0;
    while (done < total) {
        const std::array<IoSlice, 2> gather{
            {{out.data() + done, std::min<std::size_t>(28, total - done)},
             {out.data() + done + std::min<std::size_t>(28, total - done),
              std::min<std::size_t>(1U << 20, total - done) -
                  std::min<std::size_t>(28, total - done)}}};
        const auto sent = stream.send(gather);
        if (sent.status == Status::ok) {
            done += sent.bytes;
            continue;
        }
        CHECK(sent.status == Status::would_block);
        if (sent.status != Status::would_block) break;
        ++waits;
        CHECK(stream.wait({.room = true, .time_max = 20s}).writable);
    }
    reader.join();
    CHECK(wrong == 0);
    CHECK(waits > 0);
}

/// What the system's calls do instead, when it is set.
struct Instead {
    bool full = false;        // a send that does not wait finds no room
    bool takes_part = false;  // one that waits takes half of it at once
    bool takes_nothing = false;
    bool ends_short = false;  // one that was waited for ends with a byte less
    bool watches = false;     // which operations the system has not ended
    std::set<const OVERLAPPED*> under_way{};
    decltype(&::WSASend) send = nullptr;  // the system's own
    decltype(&::WSARecv) receive = nullptr;
    decltype(&::WSAGetOverlappedResult) result = nullptr;
    decltype(&::GetQueuedCompletionStatusEx) ended = nullptr;
} instead;

int watched(int result, const OVERLAPPED* overlapped) {
    if (instead.watches && result != 0 && ::WSAGetLastError() == WSA_IO_PENDING)
        instead.under_way.insert(overlapped);
    return result;
}

int WSAAPI send_instead(SOCKET socket, WSABUF* buffers, DWORD count, DWORD* sent, DWORD flags,
                        OVERLAPPED* overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    if (instead.full && overlapped == nullptr) {
        ::WSASetLastError(WSAEWOULDBLOCK);
        return SOCKET_ERROR;
    }
    if (overlapped != nullptr && (instead.takes_part || instead.takes_nothing)) {
        *sent = instead.takes_part ? buffers[0].len / 2 : 0;
        return 0;
    }
    return watched(instead.send(socket, buffers, count, sent, flags, overlapped, routine),
                   overlapped);
}

int WSAAPI receive_instead(SOCKET socket, WSABUF* buffers, DWORD count, DWORD* received,
                           DWORD* flags, OVERLAPPED* overlapped,
                           LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    return watched(instead.receive(socket, buffers, count, received, flags, overlapped, routine),
                   overlapped);
}

BOOL WINAPI ended_instead(HANDLE port, OVERLAPPED_ENTRY* entries, ULONG room, ULONG* count,
                          DWORD time, BOOL alertable) {
    const BOOL good = instead.ended(port, entries, room, count, time, alertable);
    for (ULONG i = 0; good && instead.watches && i < *count; ++i)
        instead.under_way.erase(entries[i].lpOverlapped);
    return good;
}

BOOL WSAAPI result_instead(SOCKET socket, OVERLAPPED* overlapped, DWORD* bytes, BOOL wait,
                           DWORD* flags) {
    const BOOL good = instead.result(socket, overlapped, bytes, wait, flags);
    if (instead.ends_short && *bytes > 0) --*bytes;
    return good;
}

/// What a full socket did not take is kept or is an error, never forgotten.
void falling_short() {
    std::vector<std::uint8_t> bytes(1U << 20, 0x5a);
    const IoSlice some{bytes.data(), 1000};
    const IoSlice all{bytes.data(), bytes.size()};
    {
        const Pair pair;
        instead.full = instead.takes_part = true;
        const auto sent = pair.stream->send({&some, 1});
        CHECK(sent.status == Status::ok && sent.bytes == 500);
        instead.takes_part = false;
        instead.takes_nothing = true;
        CHECK(pair.stream->send({&some, 1}).status == Status::failed);
        instead.full = instead.takes_nothing = false;
    }
    const Pair pair;
    while (pair.stream->send({&all, 1}).status == Status::ok) {
    }
    instead.ends_short = true;
    std::thread reader([&] {
        std::vector<char> in(64U << 10);
        while (::recv(pair.peer.native(), in.data(), static_cast<int>(in.size()), 0) > 0) {
        }
    });
    CHECK(pair.stream->wait({.room = true, .time_max = 20s}).writable);
    const auto sent = pair.stream->send({&some, 1});
    CHECK(sent.status == Status::failed && sent.error == WSAECONNABORTED);
    instead.ends_short = false;
    pair.stream->shut_down();
    reader.join();
}

/// Streams that end while the system still holds their memory: they wait until it does not.
void ending() {
    instead.watches = true;
    std::size_t pending = 0;
    std::vector<std::uint8_t> bytes(1U << 20, 0x5a);
    const IoSlice slice{bytes.data(), bytes.size()};
    for (int i = 0; i < 12; ++i) {
        Pair pair;
        if (i % 2 == 0)
            while (pair.stream->send({&slice, 1}).status == Status::ok) {
            }
        CHECK(nothing(pair.stream->wait({.time_max = 1ms})));
        if (i % 3 == 0) pair.stream->shut_down();
        pending += instead.under_way.size();
        pair.stream.reset();
        CHECK(instead.under_way.empty());
    }
    CHECK(pending > 0);
    instead.watches = false;
}

}  // namespace
}  // namespace wnbd::nbd

// What the linker takes instead of the system's.
extern "C" {
decltype(&::WSASend) __imp_WSASend = wnbd::nbd::send_instead;
decltype(&::WSARecv) __imp_WSARecv = wnbd::nbd::receive_instead;
decltype(&::WSAGetOverlappedResult) __imp_WSAGetOverlappedResult = wnbd::nbd::result_instead;
decltype(&::GetQueuedCompletionStatusEx) __imp_GetQueuedCompletionStatusEx =
    wnbd::nbd::ended_instead;
}

int main() {
    using namespace wnbd::nbd;
    const auto find = []<typename Call>(Call& call, const char* name, const wchar_t* library) {
        const auto found = ::GetProcAddress(::LoadLibraryW(library), name);
        std::memcpy(&call, &found, sizeof call);
    };
    find(instead.send, "WSASend", L"ws2_32.dll");
    find(instead.receive, "WSARecv", L"ws2_32.dll");
    find(instead.result, "WSAGetOverlappedResult", L"ws2_32.dll");
    find(instead.ended, "GetQueuedCompletionStatusEx", L"kernel32.dll");
    // Whoever dials first starts the system's sockets.
    const Dialer first;
    const struct {
        const char* name;
        void (*run)();
    } parts[] = {{"dialling", dialling}, {"cancelling", cancelling},
                 {"waiting", waiting},   {"shutting down", shutting_down},
                 {"filling", filling},   {"falling short", falling_short},
                 {"ending", ending}};
    for (const auto& part : parts) {
        const auto began = Clock::now();
        part.run();
        std::printf("%s: %lld ms\n", part.name,
                    static_cast<long long>((Clock::now() - began) / std::chrono::milliseconds(1)));
        std::fflush(stdout);
    }
    return failures == 0 ? 0 : 1;
}
