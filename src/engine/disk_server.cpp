// SPDX-License-Identifier: LGPL-2.1-or-later
// The serving process's side of a disk: requests go out, replies come in.
#include <optional>

#include "engine/disk.h"

namespace wnbd::engine {

Disk::Take Disk::take(Waiter& waiter, Request*& request) noexcept {
    Waiter* other = nullptr;
    {
        const platform::SpinGuard guard(queue_lock_);
        if (waiter.linked()) IntrusiveList<Waiter>::remove(waiter);
        if (state_ != DiskState::online) return Take::disconnected;
        owes_unfetched_from_ = 0;
        if (!can_take_front()) {
            posted_unseen_ = posted_unseen_ || !pending_.empty();
            waiters_.push_front(waiter);
            return Take::empty;
        }
        request = &take_front();
        request->state = RequestState::fetching;
        ++request->generation;
        other = waiter_to_wake_if_unseen();
    }
    wake(other);
    return Take::request;
}

void Disk::withdraw(Waiter& waiter) noexcept {
    {
        const platform::SpinGuard guard(queue_lock_);
        if (waiter.linked()) {
            IntrusiveList<Waiter>::remove(waiter);
            return;
        }
    }
    // Someone has chosen this waiter and is about to touch its event, or has: see that through, and
    // hand the wake-up on to another.
    platform::wait(waiter.wake, false);
    Waiter* other = nullptr;
    {
        const platform::SpinGuard guard(queue_lock_);
        other = waiter_to_wake();
    }
    wake(other);
}

void Disk::publish(Request& request) noexcept {
    {
        const platform::SpinGuard guard(queue_lock_);
        if (!request.doomed) {
            request.state = RequestState::submitted;
            note_submitted(request);
            return;
        }
    }
    end_owned(request, Cause::failed, scsi::Answer{});  // the drain's cause stands
}

void Disk::return_unfetched(Request& request) noexcept {
    Waiter* waiter = nullptr;
    bool doomed = false;
    {
        const platform::SpinGuard guard(queue_lock_);
        doomed = request.doomed;
        if (!doomed) waiter = requeue_front(request);
    }
    wake(waiter);
    if (doomed) end_owned(request, Cause::failed, scsi::Answer{});
}

void Disk::reject(Request& request) noexcept {
    end_owned(request, Cause::failed, scsi::Answer{});
}

Request* Disk::begin_reply(Tag tag) noexcept {
    const platform::SpinGuard guard(queue_lock_);
    Request* const request = table_.find(tag);
    if (request != nullptr) {
        request->state = RequestState::replying;
    } else {
        // A tag that never was, or was answered before, looks the same: no more than were aborted.
        if (counters_.late_replies < counters_.aborted_submitted) ++counters_.late_replies;
        note_sign_of_life(platform::interrupt_time());
    }
    return request;
}

/// In `replying` from the start: nobody else may end the request while its buffer is worked on.
Request* Disk::take_now() noexcept {
    const platform::SpinGuard guard(queue_lock_);
    owes_unfetched_from_ = 0;
    if (!can_take_front()) return nullptr;
    Request& request = take_front();
    request.state = RequestState::replying;
    note_submitted(request);
    return &request;
}

void Disk::finish_reply(Request& request, const scsi::Answer& status,
                        std::span<const std::uint8_t> reply) noexcept {
    if (status.status != scsi::Status::good) return finish_step(request, status);
    const bool moves_data =
        request.step.sink != scsi::Sink::none && request.step.sink != scsi::Sink::discard;
    const auto buffer = moves_data ? data(request) : std::span<std::uint8_t>{};
    if (moves_data && buffer.empty()) return fail_reply(request);
    finish_step(request, scsi::absorb_reply(description_, request.step, reply, buffer));
}

void Disk::finish_step(Request& request, const scsi::Answer& status) noexcept {
    scsi::Answer answer = status;
    std::optional<scsi::Step> next;
    if (answer.status == scsi::Status::good) {
        next = scsi::next_step(description_, request.block, request.step);
        answer.transferred = scsi::transferred(request.block, status);
    }
    Waiter* waiter = nullptr;
    bool goes_on = false;
    {
        const platform::SpinGuard guard(queue_lock_);
        const std::uint64_t now = platform::interrupt_time();
        counters_.last_reply_at = now;
        goes_on = next.has_value() && !request.doomed;
        if (goes_on) {
            note_sign_of_life(now);
            request.step = *next;
            waiter = requeue_front(request);
        }
    }
    if (goes_on)
        wake(waiter);
    else
        end_owned(request, Cause::answered, answer);
}

void Disk::return_unanswered(Request& request) noexcept {
    {
        const platform::SpinGuard guard(queue_lock_);
        if (!request.doomed) {
            request.state = RequestState::submitted;
            return;
        }
    }
    end_owned(request, Cause::failed, scsi::Answer{});  // the drain's cause stands
}

void Disk::fail_reply(Request& request) noexcept {
    end_owned(request, Cause::failed, scsi::Answer{});
}

/// Ends a request in `fetching` or `replying`, which is this thread's. If a drain has come
/// meanwhile, the drain's cause stands.
void Disk::end_owned(Request& request, Cause cause, const scsi::Answer& answer) noexcept {
    void* const srb = request.srb;
    bool doomed = false;
    Waiter* waiter = nullptr;
    {
        const platform::SpinGuard guard(queue_lock_);
        doomed = request.doomed;
        if (doomed) cause = request.doom;
        count_end(request, cause);
        if (request.state == RequestState::replying) note_sign_of_life(platform::interrupt_time());
        leave_active(request);
        table_.give_back(request);
        waiter = waiter_to_wake_if_unseen();
    }
    wake(waiter);
    port_->complete(srb, cause, answer);
    if (doomed) settle_doomed();
}

void Disk::count_end(const Request& request, Cause cause) noexcept {
    const bool drained = cause == Cause::aborted || cause == Cause::bus_reset;
    const auto owe = [&](std::uint64_t& since) {
        if (drained && (since == 0 || request.received_at < since)) since = request.received_at;
    };
    if (request.was_submitted) {
        --counters_.pending_submitted;
        ++(cause == Cause::answered ? counters_.replies : counters_.aborted_submitted);
        owe(owes_aborted_from_);
    } else {
        --counters_.unsubmitted;
        ++(cause == Cause::failed ? counters_.rejected : counters_.aborted_unsubmitted);
        owe(owes_unfetched_from_);
    }
}

/// Whatever user space says, it lives: from here on it owes what is outstanding now, or nothing.
void Disk::note_sign_of_life(std::uint64_t now) noexcept {
    owes_aborted_from_ = 0;
    owes_unfetched_from_ = 0;
    unanswered_since_ = counters_.outstanding() > 0 ? now : 0;
}

/// Puts an active request back where the next take() finds it first.
Waiter* Disk::requeue_front(Request& request) noexcept {
    IntrusiveList<Request>::remove(request);
    --active_count_;
    // A request that runs alone goes on running alone between its steps; one that user space has
    // not seen has not begun to.
    if (scsi::runs_alone(request.block) && !request.was_submitted) runs_alone_ = false;
    request.state = RequestState::pending;
    pending_.push_front(request);
    return waiter_to_wake();
}

void Disk::leave_active(Request& request) noexcept {
    IntrusiveList<Request>::remove(request);
    --active_count_;
    if (scsi::runs_alone(request.block)) runs_alone_ = false;
}

/// What can_take_front() has found takeable.
Request& Disk::take_front() noexcept {
    Request& request = *pending_.pop_front();
    active_.push_back(request);
    ++active_count_;
    if (scsi::runs_alone(request.block)) runs_alone_ = true;
    return request;
}

void Disk::note_submitted(Request& request) noexcept {
    if (!request.was_submitted) {
        request.was_submitted = true;
        --counters_.unsubmitted;
        ++counters_.submitted;
        ++counters_.pending_submitted;
    }
    counters_.last_submitted_at = platform::interrupt_time();
}

bool Disk::can_take_front() noexcept {
    Request* const front = pending_.front();
    if (front == nullptr) return false;
    if (scsi::runs_alone(front->block)) return front->was_submitted || active_count_ == 0;
    return !runs_alone_;
}

/// After something was queued: the waiter to wake for it. Where nothing may be taken now, whoever
/// makes that possible wakes one (waiter_to_wake_if_unseen), which then wakes the next.
Waiter* Disk::waiter_to_wake() noexcept {
    if (can_take_front()) return waiters_.pop_front();
    posted_unseen_ = posted_unseen_ || !pending_.empty();
    return nullptr;
}

Waiter* Disk::waiter_to_wake_if_unseen() noexcept {
    if (!posted_unseen_) return nullptr;
    if (pending_.empty()) {
        posted_unseen_ = false;
        return nullptr;
    }
    return can_take_front() ? waiters_.pop_front() : nullptr;
}

void Disk::wake(Waiter* waiter) noexcept {
    if (waiter != nullptr) platform::set(waiter->wake);
}

}  // namespace wnbd::engine
