// SPDX-License-Identifier: LGPL-2.1-or-later
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "nbd/socket_stream.h"
#include "nbd/spin.h"

namespace wnbd::nbd {
namespace {

/// A descriptor of the system, closed at its end.
class Descriptor {
  public:
    explicit Descriptor(int native) noexcept : native_(native) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (native_ >= 0) ::close(native_);
    }
    [[nodiscard]] int native() const noexcept { return native_; }

  private:
    int native_;
};

constexpr std::chrono::microseconds pause_max{1'000};

enum Source : std::uint32_t { from_socket, from_wake };

bool watch(int epoll, int operation, int native, std::uint32_t events, Source source) noexcept {
    epoll_event event{.events = events, .data = {.u32 = source}};
    return ::epoll_ctl(epoll, operation, native, &event) == 0;
}

}  // namespace

struct SocketStream::System {
    explicit System(Socket connected) noexcept : socket(std::move(connected)) {}

    Socket socket;
    Descriptor epoll{::epoll_create1(EPOLL_CLOEXEC)};
    Descriptor waker{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

    // The receiving thread's.
    bool watches_room = false;
    bool pauses_are_short = false;
    SpinChoice spin;

    [[nodiscard]] bool start() noexcept {
        // The waker is edge-triggered: nobody needs to take its count back.
        return epoll.native() >= 0 && waker.native() >= 0 &&
               watch(epoll.native(), EPOLL_CTL_ADD, socket.native(), EPOLLIN, from_socket) &&
               watch(epoll.native(), EPOLL_CTL_ADD, waker.native(), EPOLLIN | EPOLLET, from_wake);
    }

    void want_room(bool room) noexcept {
        if (room == watches_room) return;
        const std::uint32_t events = room ? EPOLLIN | EPOLLOUT : EPOLLIN;
        if (watch(epoll.native(), EPOLL_CTL_MOD, socket.native(), events, from_socket))
            watches_room = room;
    }

    /// Nothing set: nothing happened in that time.
    [[nodiscard]] Ready poll(int timeout) noexcept {
        std::array<epoll_event, 2> events;
        const int count = ::epoll_wait(epoll.native(), events.data(), events.size(), timeout);
        Ready ready{};
        for (int i = 0; i < count; ++i) {
            const auto& event = events[static_cast<std::size_t>(i)];
            if (event.data.u32 == from_wake) {
                ready.woken = true;
                continue;
            }
            // A failed or closed socket is both: the next call tells.
            const bool over = (event.events & (EPOLLHUP | EPOLLERR)) != 0;
            ready.readable = over || (event.events & EPOLLIN) != 0;
            ready.writable = watches_room && (over || (event.events & EPOLLOUT) != 0);
        }
        return ready;
    }

    [[nodiscard]] Ready poll_spinning() noexcept {
        const auto end = Clock::now() + SpinChoice::time_max;
        do {
            const auto ready = poll(0);
            if (any(ready)) return ready;
            // A server on this CPU gets it.
            ::sched_yield();
        } while (Clock::now() < end);
        return {};
    }

    /// A pause costs a timer; taking answers one by one costs a wake-up each.
    void pause(std::chrono::nanoseconds time) noexcept {
        // By default the system adds up to 50 us. A thread's own setting, and one thread waits.
        if (!std::exchange(pauses_are_short, true)) ::prctl(PR_SET_TIMERSLACK, 1'000UL);
        const timespec rest{.tv_sec = 0, .tv_nsec = time.count()};
        ::nanosleep(&rest, nullptr);
    }

    static bool any(const Ready& ready) noexcept {
        return ready.readable || ready.writable || ready.woken;
    }
};

Result<std::unique_ptr<SocketStream>, Fault> SocketStream::create(Socket socket) {
    auto system = std::make_unique<System>(std::move(socket));
    if (!system->start())
        return Failure{Fault{.code = FaultCode::socket_failed,
                             .got = static_cast<std::uint64_t>(errno),
                             .step = "before it began",
                             .text = system_error_text(errno)}};
    return std::unique_ptr<SocketStream>(new SocketStream(std::move(system)));
}

SocketStream::SocketStream(std::unique_ptr<System> system) noexcept : system_(std::move(system)) {}
SocketStream::~SocketStream() = default;

IoResult SocketStream::send(std::span<const IoSlice> slices) noexcept {
    return system_->socket.send(slices);
}

IoResult SocketStream::receive(std::span<const IoSlice> slices) noexcept {
    return system_->socket.receive(slices);
}

Ready SocketStream::wait(const WaitFor& what) noexcept {
    auto& system = *system_;
    system.want_room(what.room);
    if (what.pause.count() > 0 && !what.room && what.time_max.count() < 0) {
        system.pause(std::min(what.pause, pause_max));
        // By now something has come, mostly; who finds nothing waits next.
        return {.readable = true};
    }
    if (what.soon && what.time_max.count() != 0 && system.spin.worth_it()) {
        const auto ready = system.poll_spinning();
        system.spin.learn(System::any(ready));
        if (System::any(ready)) return ready;
    }
    constexpr std::chrono::milliseconds longest{1 << 30};
    const auto time = std::min(what.time_max, longest);
    return system.poll(time.count() < 0 ? -1 : static_cast<int>(time.count()));
}

void SocketStream::wake() noexcept {
    // A full counter means that a wake-up is pending anyway.
    const eventfd_t one = 1;
    (void)::eventfd_write(system_->waker.native(), one);
}

void SocketStream::shut_down() noexcept {
    system_->socket.shutdown_both();
}
void SocketStream::shut_down_send() noexcept {
    system_->socket.shutdown_send();
}

}  // namespace wnbd::nbd
