// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/loop.h"

#if !defined(_WIN32)
#include <sys/prctl.h>
#include <time.h>
#endif

#include <chrono>
#include <utility>

#include "iscsi/endpoint.h"
#include "iscsi/send_targets.h"

namespace wnbd::iscsi {
namespace {

constexpr std::chrono::seconds tick_interval{1};

std::string text_of(const asio::ip::tcp::endpoint& endpoint) {
    return portal_text(endpoint.address().to_string(), endpoint.port());
}

#if defined(_WIN32)
void allow_short_pauses() noexcept {}
#else
constexpr long pause_ns = 50'000;
constexpr unsigned long slack_ns = 1'000;  // by default the system adds up to 50 us

void allow_short_pauses() noexcept {
    prctl(PR_SET_TIMERSLACK, slack_ns);
}
#endif

}  // namespace

Loop::Loop(Target& target, Log& log, LoopOwner& owner)
    : target_(target),
      log_(log),
      owner_(owner),
      work_(asio::make_work_guard(context_)),
      timer_(context_) {}

Loop::~Loop() {
    finish();
}

void Loop::start() {
    tick();
    thread_ = std::thread([this] {
        allow_short_pauses();
        context_.run();
    });
}

void Loop::finish() noexcept {
    context_.stop();
    if (thread_.joinable()) thread_.join();
}

void Loop::pause() noexcept {
#if !defined(_WIN32)
    const timespec time{0, pause_ns};
    nanosleep(&time, nullptr);
#endif
}

std::uint64_t Loop::now_ms() noexcept {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

// NOLINTNEXTLINE(bugprone-exception-escape): only for want of memory, which ends the process
void Loop::adopt(asio::ip::tcp::socket socket) noexcept {
    std::error_code error;
    const auto here = socket.local_endpoint(error);
    const auto there = error ? asio::ip::tcp::endpoint() : socket.remote_endpoint(error);
    // Responses are small and waited for.
    if (!error) socket.set_option(asio::ip::tcp::no_delay(true), error);
    if (!error) socket.non_blocking(true, error);
    if (!error && !stopping_) {
        try {
            peers_.push_back(
                std::make_unique<Peer>(*this, std::move(socket), text_of(there),
                                       target_address(here.address().to_string(), here.port())));
            peers_.back()->place = peers_.size() - 1;
            peers_.back()->start();
            return;
        } catch (const std::bad_alloc&) {
            log_.write(Log::Level::error, text_of(there) + ": no memory for the connection");
        }
    }
    --load;
    socket.close(error);
    owner_.peer_ended();
}

template <typename Action>
void Loop::each(Action action) noexcept {
    // From the back: the one that goes is replaced by the last one.
    for (std::size_t i = peers_.size(); i-- > 0;)
        action(*peers_[i]);
}

// NOLINTNEXTLINE(bugprone-exception-escape): only for want of memory, which ends the process
void Loop::tick() noexcept {
    timer_.expires_after(tick_interval);
    timer_.async_wait([this](std::error_code error) {
        if (error) return;
        each([now = now_ms()](Peer& peer) { peer.tick(now); });
        tick();
    });
}

void Loop::ask_for_logout(std::uint16_t within_seconds) noexcept {
    each([within_seconds](Peer& peer) { peer.ask_for_logout(within_seconds); });
}

void Loop::close_all() noexcept {
    stopping_ = true;
    each([](Peer& peer) { peer.close("the target stops"); });
}

void Loop::remove(Peer& peer) noexcept {
    const std::size_t place = peer.place;
    std::swap(peers_[place], peers_.back());
    peers_[place]->place = place;
    peers_.pop_back();
    --load;
    owner_.peer_ended();
}

}  // namespace wnbd::iscsi
