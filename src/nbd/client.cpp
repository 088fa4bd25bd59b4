// SPDX-License-Identifier: LGPL-2.1-or-later
// How requests go out and come back. What becomes of the connections is in client_phases.cpp.
#include "nbd/client.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;

/// Requests that begin at the same place share a connection, and so their batches.
constexpr unsigned place_shift = 18;  // 256 KiB

constexpr milliseconds tick_max{1'000};
constexpr milliseconds tick_min{10};

/// Fine enough for the times that are watched.
milliseconds tick_for(const ClientLimits& limits) {
    auto tick = tick_max;
    if (limits.request_time_max.count() > 0) tick = std::min(tick, limits.request_time_max / 8);
    if (limits.keep_alive.count() > 0) tick = std::min(tick, limits.keep_alive / 4);
    return std::max(tick, tick_min);
}

}  // namespace

/// A server that has neither has no cache that could be lost, as far as the protocol knows.
bool Client::caches(const ClientLimits& limits, const ExportInfo& info) noexcept {
    return !limits.write_through &&
           (info.transmission_flags & (transmission_send_fua | transmission_send_flush)) != 0;
}

Client::WriteThrough Client::write_through_for(const ExportInfo& info) noexcept {
    if ((info.transmission_flags & transmission_send_fua) != 0) return WriteThrough::forced;
    if ((info.transmission_flags & transmission_send_flush) != 0) return WriteThrough::flushed;
    return WriteThrough::off;
}

Client::Client(const ClientLimits& limits, const Agreement& first, std::size_t addresses,
               std::size_t address)
    : limits_(limits),
      first_(first),
      write_through_(limits.write_through ? write_through_for(first.info) : WriteThrough::off),
      caching_(caches(limits, first.info)),
      guarding_(limits.reconnect.timeout.count() > 0 ||
                limits.reconnect.on_timeout == OnTimeout::hold),
      tick_(tick_for(limits)),
      lanes_(std::clamp(limits.connections, 1U, max_connections)),
      guard_(guarding_ ? std::make_unique<WriteGuard>() : nullptr),
      size_(first.info.size),
      wanted_max_(static_cast<unsigned>(lanes_.size())),
      address_(address),
      dialled_(address),
      recovery_(limits.reconnect, addresses, address) {
    for (auto& lane : lanes_)
        lane.connection =
            std::make_unique<Connection>(limits.commands_max, static_cast<ConnectionSink&>(*this));
}

Client::~Client() = default;

// Out.

unsigned Client::index_of(const Request& request) const noexcept {
    const std::uint64_t active = active_.load(std::memory_order_relaxed);
    if (active <= 1 || request.flushing || request.command.type == CommandType::flush) return 0;
    // Mixed, so that no regular pattern of places falls on one connection.
    const std::uint64_t mixed = (request.command.offset >> place_shift) * 0x9E3779B97F4A7C15;
    return static_cast<unsigned>(((mixed >> 32) * active) >> 32);
}

Command Client::command_of(Request& request) const noexcept {
    Command command = request.command;
    if (request.flushing) command = {.type = CommandType::flush};
    if (write_through_ == WriteThrough::forced && changes(command.type))
        command.flags |= command_flag_fua;
    command.cookie = &request;
    return command;
}

/// False: the connection's table is full, it is gone, or the range is another change's. The request
/// holds a range in the guard then only if it did before.
bool Client::try_admit(Connection::Entrance& entrance, Request& request) noexcept {
    const bool enters = guarding_ && !request.guarded && changes(request.command.type);
    if (enters && !guard_->enter(request.command.offset, request.command.length)) return false;
    request.guarded = request.guarded || enters;
    request.sequence = entrance.next_sequence();
    if (entrance.admit(command_of(request)) == Connection::Admission::accepted) {
        // All flushes go to one connection, whose numbers only grow.
        if (caching_ && request.command.type == CommandType::flush)
            cached_.flush_begins(request.sequence);
        return true;
    }
    if (enters) {
        request.guarded = false;
        guard_->leave(request.command.offset, request.command.length);
    }
    return false;
}

void Client::submit(std::span<Request* const> requests) noexcept {
    if (write_through_ == WriteThrough::flushed)
        for (const Request* const request : requests)
            if (changes(request->command.type)) ++unflushed_;
    // A refused long range keeps others out of the guard: it may only be tried at the line's head.
    const auto may_try = [this](const Request& request) {
        return !guarding_ || request.command.length <= WriteGuard::range_max;
    };
    Mask touched = 0;
    std::size_t at = 0;
    while (at < requests.size() && waiting_.load() == 0 && may_try(*requests[at])) {
        const auto index = index_of(*requests[at]);
        const auto begin = at;
        {
            auto entrance = lanes_[index].connection->enter();
            while (at < requests.size() && index_of(*requests[at]) == index &&
                   may_try(*requests[at]) && try_admit(entrance, *requests[at]))
                ++at;
        }
        if (at == begin) break;
        touched |= Mask{1} << index;
    }
    if (at == requests.size()) return kick(touched);
    wait_in_line(requests.subspan(at));
    // The room that was missing may have come before anybody could see us wait.
    pump(touched);
}

void Client::wait_in_line(std::span<Request* const> requests) noexcept {
    Chain over;
    Outcome outcome;
    {
        const std::lock_guard lock(line_lock_);
        auto& chain = end_outcome_ ? over : line_;
        for (Request* const request : requests)
            chain.push_back(*request);
        if (end_outcome_)
            outcome = *end_outcome_;
        else
            waiting_ += static_cast<std::uint32_t>(requests.size());
    }
    finish_all(over, outcome);
}

/// As many from the line's head as there is room for. What an export that has shrunk does not hold
/// any more goes to `failed`.
Client::Mask Client::admit_waiting(Chain& failed) noexcept {
    Mask touched = 0;
    const std::lock_guard lock(line_lock_);
    while (!line_.empty() && (waiting_.load() & offline) == 0) {
        Request& head = *line_.first;
        const auto size = size_.load(std::memory_order_relaxed);
        const auto& command = head.command;
        if (command.offset > size || command.length > size - command.offset) {
            failed.push_back(*line_.pop_front());
            --waiting_;
            continue;
        }
        const auto index = index_of(head);
        Request* const second = head.next;
        // Until this lock is released nobody can have completed what was admitted.
        auto entrance = lanes_[index].connection->enter();
        if (!try_admit(entrance, head)) break;
        line_.first = second;
        if (second == nullptr) line_.last = nullptr;
        --waiting_;
        touched |= Mask{1} << index;
    }
    return touched;
}

void Client::pump(Mask touched) noexcept {
    Chain failed;
    touched |= admit_waiting(failed);
    kick(touched);
    while (Request* const request = failed.pop_front()) {
        if (request->command.length > WriteGuard::range_max && guarding_ && !request->guarded)
            guard_->forget(request->command.length);
        finish(*request,
               {.error = changes(request->command.type) ? error_no_space : error_invalid});
    }
}

void Client::kick(Mask touched) noexcept {
    if (touched == 0) return;
    if (Lane* const here = stepped_here()) {
        here->deferred |= touched;
        return;
    }
    for (; touched != 0; touched &= touched - 1)
        lanes_[static_cast<unsigned>(std::countr_zero(touched))].connection->kick();
}

/// The lane in whose step the calling thread is.
Client::Lane* Client::stepped_here() noexcept {
    for (auto& lane : lanes_)
        if (lane.connection->stepped_here()) return &lane;
    return nullptr;
}

// Back.

void Client::received_all(Connection& connection) noexcept {
    for (auto& lane : lanes_) {
        if (lane.connection.get() != &connection) continue;
        auto touched = std::exchange(lane.deferred, 0);
        // Its own requests it sends itself.
        for (; touched != 0; touched &= touched - 1)
            lanes_[static_cast<unsigned>(std::countr_zero(touched))].connection->kick();
        return;
    }
}

void Client::completed(Connection& /*connection*/, void* cookie, std::uint32_t error) noexcept {
    auto& request = *static_cast<Request*>(cookie);
    if (error == 0) {
        if (write_through_ == WriteThrough::flushed && !request.flushing &&
            changes(request.command.type))
            return begin_flush(request);
        if (caching_) note_success(request);
    } else if (error == error_shutdown && keep(request)) {
        return;
    }
    finish(request, {.error = error});
    if (waiting_.load() != 0) pump();
}

void Client::note_success(const Request& request) noexcept {
    const auto& command = request.command;
    if (command.type == CommandType::flush)
        cached_.flush_succeeded(request.sequence);
    else if (changes(command.type) && (command.flags & command_flag_fua) == 0)
        cached_.acknowledged();
}

/// What was written is made stable before the user hears of it. Keeps its range in the guard.
void Client::begin_flush(Request& request) noexcept {
    request.flushing = true;
    bool admitted = false;
    {
        auto entrance = lanes_[0].connection->enter();
        admitted = try_admit(entrance, request);
    }
    if (admitted) return kick(1);
    std::optional<Outcome> end;
    {
        const std::lock_guard lock(line_lock_);
        end = end_outcome_;
        if (!end) {
            // Ahead of those who wait for ranges: this one has its own.
            line_.push_front(request);
            ++waiting_;
        }
    }
    if (end) return finish(request, *end);
    pump();
}

/// The server goes away and has sent a request away with the error that says so: it is kept for the
/// server's successor.
bool Client::keep(Request& request) noexcept {
    if (!guarding_) return false;
    const std::lock_guard lock(state_lock_);
    if (closing_ || (phase_ != Phase::online && phase_ != Phase::breaking)) return false;
    if (++request.shutdowns >= shutdowns_max) return false;
    unanswered_.push_back(request);
    if (phase_ == Phase::online)
        break_off({.code = FaultCode::server_shutting_down}, looked_at_.value_or(TimePoint{}));
    return true;
}

void Client::finish(Request& request, Outcome outcome) noexcept {
    if (request.guarded) {
        request.guarded = false;
        guard_->leave(request.command.offset, request.command.length);
    }
    if (write_through_ == WriteThrough::flushed && changes(request.command.type)) --unflushed_;
    request.flushing = false;
    request.shutdowns = 0;
    request.done(request, outcome);
}

void Client::finish_all(Chain& chain, Outcome outcome) noexcept {
    while (Request* const request = chain.pop_front())
        finish(*request, outcome);
}

bool Client::idle() noexcept {
    const std::lock_guard state(state_lock_);
    const std::lock_guard line(line_lock_);
    if (!line_.empty() || !unanswered_.empty() || unflushed_.load() != 0) return false;
    return std::all_of(lanes_.begin(), lanes_.end(),
                       [](const Lane& lane) { return lane.connection->in_flight() == 0; });
}

}  // namespace wnbd::nbd
