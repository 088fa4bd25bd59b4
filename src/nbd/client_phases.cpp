// SPDX-License-Identifier: LGPL-2.1-or-later
// How a client's connections come and go. How requests do is in client.cpp.
#include <algorithm>
#include <bit>
#include <utility>

#include "nbd/client.h"

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;
using Ending = Connection::Ending;

constexpr Outcome disconnected{.disconnected = true};
constexpr Outcome shutting_down{.error = error_shutdown};

Fault nobody_waits() {
    return {.code = FaultCode::closed};
}

/// The export is the one that it was, and the way to it is as safe.
Fault compare_agreements(const Agreement& before, const Agreement& now) {
    if (before.tls && !now.tls)
        return {.code = FaultCode::export_changed,
                .step = "after reconnecting",
                .text = "its server has no TLS any more"};
    return compare_exports(before.info, now.info).fault;
}

bool several_allowed(const Agreement& agreement) {
    return (agreement.info.transmission_flags & transmission_can_multi_conn) != 0;
}

/// The earlier one.
void bring_forward(std::optional<TimePoint>& next, std::optional<TimePoint> other) {
    if (other && (!next || *other < *next)) next = other;
}

}  // namespace

// Coming.

Fault Client::attach(unsigned index, std::unique_ptr<Stream> stream, const Agreement& agreement,
                     TimePoint now) {
    {
        const std::lock_guard lock(state_lock_);
        auto fault = index == 0 ? check_first(agreement, now) : check_join(index, agreement);
        if (fault.code != FaultCode::none) return fault;
        dialling_ = joining_ = false;
        size_ = agreement.info.size;
        lanes_[index].connection->attach(std::move(stream), agreement, time_);
        ++attached_;
        active_ = index + 1;
        if (index == 0) {
            // Nothing of the new incarnation is answered before this lock is released.
            unflushed_at_loss_ = cached_.any();
            phase_ = Phase::online;
            fault_ = {};
            address_ = dialled_;
            join_again_ = now;
            wanted_ = several_allowed(agreement) ? wanted_max_ : 1;
            if (!looked_at_) looked_at_ = now;
            waiting_ &= ~offline;
        } else {
            joined_at_ = now;
        }
    }
    pump();
    return {};
}

/// May a new incarnation begin with this?
Fault Client::check_first(const Agreement& agreement, TimePoint now) {
    if (closing_ || (phase_ != Phase::fresh && phase_ != Phase::down)) return nobody_waits();
    auto fault = compare_agreements(first_, agreement);
    if (fault.code != FaultCode::none) return fault;
    if (phase_ == Phase::down && !recovery_.opened(now)) return nobody_waits();
    return {};
}

/// May this connection join the others?
Fault Client::check_join(unsigned index, const Agreement& agreement) const {
    if (closing_ || phase_ != Phase::online || index != attached_ || index >= wanted_)
        return nobody_waits();
    auto fault = compare_agreements(first_, agreement);
    if (fault.code != FaultCode::none) return fault;
    if (agreement.info.size == size_ && several_allowed(agreement)) return {};
    return {.code = FaultCode::export_changed,
            .step = "on a further connection",
            .text = "its size or what it allows differs from the first connection's"};
}

void Client::dial_failed(Fault fault, TimePoint now) noexcept {
    const std::lock_guard lock(state_lock_);
    dialling_ = false;
    if (std::exchange(joining_, false))
        join_again_ = now + limits_.reconnect.delay_max;
    else
        recovery_.attempt_failed(now, std::move(fault));
}

// Going.

void Client::detached(unsigned index, TimePoint now) noexcept {
    Chain over;
    std::unique_ptr<Stream> stream;
    {
        const std::lock_guard lock(state_lock_);
        auto& connection = *lanes_[index].connection;
        const auto fault = connection.fault();
        stream = connection.detach([this](void* cookie) noexcept {
            unanswered_.push_back(*static_cast<Request*>(cookie));
        });
        if (phase_ == Phase::online) {
            note_loss_of(index, now);
            break_off(fault, now);
        }
    }
    // This may take a moment, and holds up nobody. But what it has not sent must be gone before a
    // successor may be at work.
    stream.reset();
    {
        const std::lock_guard lock(state_lock_);
        if (--attached_ == 0) all_detached(over);
    }
    finish_all(over, disconnected);
}

/// The incarnation ends with this connection.
void Client::note_loss_of(unsigned index, TimePoint now) noexcept {
    const bool stillborn = index > 0 && !lanes_[index].connection->heard_anything() &&
                           now - joined_at_ < Recovery::held_min;
    stillborn_ = stillborn ? stillborn_ + 1 : 0;
    if (stillborn_ >= stillborn_max) wanted_max_ = index;
}

/// The incarnation is over. Its connections are still read until the server ends them, or for a
/// while: what it may still be doing then can't mix with what its successor is told.
void Client::break_off(const Fault& fault, TimePoint now) noexcept {
    phase_ = Phase::breaking;
    waiting_ |= offline;
    recovery_.lost(now, fault);
    end_connections(fault,
                    recovery_.state() == Recovery::State::gave_up ? Ending::hard : Ending::orderly);
    fault_ = fault;
    break_end_ = now + limits_.linger;
}

void Client::end_connections(const Fault& fault, Ending how) noexcept {
    for (auto& lane : lanes_)
        lane.connection->end(fault, how);
}

void Client::all_detached(Chain& over) noexcept {
    active_ = 0;
    if (closing_ || recovery_.state() == Recovery::State::gave_up) {
        phase_ = Phase::ended;
        over.append(unanswered_);
        if (!closing_) end_line(disconnected, over);
        return;
    }
    phase_ = Phase::down;
    unanswered_.sort();
    const auto count = unanswered_.count();
    const std::lock_guard lock(line_lock_);
    // What was written but not flushed is written anew: its server may have lost it.
    for (Request* at = unanswered_.first; at != nullptr; at = at->next)
        at->flushing = false;
    for (Request* at = line_.first; at != nullptr; at = at->next)
        at->flushing = false;
    unanswered_.append(line_);
    line_ = std::exchange(unanswered_, {});
    waiting_ += count;
}

/// From now on all that comes ends so, and what waits goes to `over`.
void Client::end_line(Outcome outcome, Chain& over) noexcept {
    const std::lock_guard lock(line_lock_);
    end_outcome_ = outcome;
    if (guarding_ && !line_.empty() && !line_.first->guarded)
        guard_->forget(line_.first->command.length);
    waiting_ = offline;
    over.append(line_);
}

void Client::close(TimePoint now) noexcept {
    Chain over;
    {
        const std::lock_guard lock(state_lock_);
        if (std::exchange(closing_, true)) return;
        waiting_ |= offline;
        end_line(shutting_down, over);
        switch (phase_) {
            case Phase::fresh:
            case Phase::down: phase_ = Phase::ended; break;
            case Phase::online:
                phase_ = Phase::breaking;
                fault_ = {.code = FaultCode::closed};
                break_end_ = now + limits_.farewell;
                for (auto& lane : lanes_)
                    lane.connection->end(
                        fault_, lane.connection->in_flight() == 0 ? Ending::orderly : Ending::hard);
                break;
            case Phase::breaking: end_connections({.code = FaultCode::closed}, Ending::hard); break;
            case Phase::ended: break;
        }
    }
    finish_all(over, shutting_down);
}

// Looking after.

Client::Chore Client::look_after(TimePoint now) noexcept {
    Chore chore;
    Chain over;
    Mask silent = 0;
    {
        const std::lock_guard lock(state_lock_);
        advance_time(now);
        switch (phase_) {
            case Phase::online: silent = look_after_online(chore, now); break;
            case Phase::breaking: look_after_breaking(chore, now); break;
            case Phase::down: look_after_down(chore, now, over); break;
            case Phase::fresh: break;
            case Phase::ended: chore.abandon_dial = dialling_; break;
        }
    }
    finish_all(over, disconnected);
    // Whoever sends may have to complete what others have sent: no lock may be held.
    for (; silent != 0; silent &= silent - 1)
        lanes_[static_cast<unsigned>(std::countr_zero(silent))].connection->probe();
    return chore;
}

/// Counts only time that nobody slept through: when the whole machine stood still, the server's
/// answers did too.
void Client::advance_time(TimePoint now) noexcept {
    if (!looked_at_) looked_at_ = now;
    const auto passed = std::chrono::duration_cast<milliseconds>(now - *looked_at_);
    if (passed.count() <= 0) return;
    time_ += static_cast<std::uint32_t>(std::min(passed, 2 * tick_).count());
    *looked_at_ += passed;
    for (auto& lane : lanes_)
        lane.connection->set_time(time_);
}

/// Returns which connections should be asked for a sign of life.
Client::Mask Client::look_after_online(Chore& chore, TimePoint now) noexcept {
    const Mask silent = check_connections(now);
    if (phase_ != Phase::online) {
        look_after_breaking(chore, now);
        return 0;
    }
    chore.next = now + tick_;
    if (!dialling_ && attached_ < wanted_) join(chore, now);
    return silent;
}

/// Asks for a further connection, when it is time for one.
void Client::join(Chore& chore, TimePoint now) noexcept {
    if (now < join_again_) return bring_forward(chore.next, join_again_);
    dialling_ = joining_ = true;
    chore.dial = address_;
    chore.index = attached_;
}

Client::Mask Client::check_connections(TimePoint now) noexcept {
    Mask silent = 0;
    const auto silence_max = limits_.request_time_max;
    for (unsigned index = 0; index < attached_; ++index) {
        auto& connection = *lanes_[index].connection;
        const auto age = connection.oldest_age();
        // The stamps are as old as the last tick.
        if (age && silence_max.count() > 0 && milliseconds(*age) > silence_max + tick_) {
            break_off({.code = FaultCode::timed_out,
                       .expected = static_cast<std::uint64_t>(silence_max.count()),
                       .step = "to a request"},
                      now);
            return 0;
        }
        if (!age && limits_.keep_alive.count() > 0 &&
            milliseconds(time_ - connection.heard()) >= limits_.keep_alive)
            silent |= Mask{1} << index;
    }
    return silent;
}

void Client::look_after_breaking(Chore& chore, TimePoint now) noexcept {
    chore.abandon_dial = dialling_;
    recovery_.tick(now);
    if (now >= break_end_ || (!closing_ && recovery_.state() == Recovery::State::gave_up))
        return end_connections(fault_, Ending::hard);
    // The next attempt's time has often come already, and is none of this phase's matter.
    chore.next = break_end_;
    if (!closing_) bring_forward(chore.next, recovery_.gives_up_at());
}

void Client::look_after_down(Chore& chore, TimePoint now, Chain& over) noexcept {
    // A further connection of the last incarnation: its dial is of no use any more.
    const bool useless = joining_;
    const auto address = dialling_ ? std::nullopt : recovery_.due(now);
    recovery_.tick(now);
    if (recovery_.state() == Recovery::State::gave_up) {
        phase_ = Phase::ended;
        fault_ = recovery_.fault();
        chore.abandon_dial = dialling_;
        return end_line(disconnected, over);
    }
    if (address) {
        dialling_ = true;
        dialled_ = *address;
        chore.dial = address;
    }
    chore.abandon_dial = useless;
    chore.next = recovery_.next();
}

Client::Status Client::status() const noexcept {
    const std::lock_guard lock(state_lock_);
    Status status{.phase = phase_,
                  .fault = fault_,
                  .address = address_,
                  .reconnects = recovery_.reconnects(),
                  .attempts = recovery_.attempts(),
                  .connections = phase_ == Phase::online ? attached_ : 0,
                  .size = size_,
                  .unflushed_at_loss = unflushed_at_loss_};
    if (phase_ == Phase::down && recovery_.fault().code != FaultCode::none)
        status.fault = recovery_.fault();
    return status;
}

}  // namespace wnbd::nbd
