// SPDX-License-Identifier: LGPL-2.1-or-later
// The initiator's side of a disk: commands come in, resets and aborts end them.
#include "engine/disk.h"

namespace wnbd::engine {
namespace {

constexpr scsi::Answer reservation_conflict{scsi::Status::reservation_conflict, scsi::Sense{}, 0};

}  // namespace

Disk::Start Disk::start(void* srb, const scsi::Command& command, scsi::Answer& answer) noexcept {
    if (removing()) return Start::no_device;
    if (take_unit_attention(command, answer)) return Start::answered;
    const scsi::Decision decision = scsi::decode(description_, block_count(), command);
    if (const auto* const block = std::get_if<scsi::BlockRequest>(&decision)) {
        return admit(srb, *block, &command, answer);
    }
    if (const auto* const about = std::get_if<scsi::ReservationCommand>(&decision)) {
        answer = run(*about, command.nexus);
    } else if (excluded_now(command)) {
        answer = reservation_conflict;  // goes before any other refusal (SAM-5, status precedence)
    } else {
        answer = *std::get_if<scsi::Answer>(&decision);
    }
    return Start::answered;
}

Disk::Start Disk::flush(void* srb, scsi::Answer& answer) noexcept {
    if (!description_.flush_supported) {
        answer = scsi::Answer{};
        return Start::answered;
    }
    scsi::BlockRequest block;
    block.action = scsi::Action::flush;
    return admit(srb, block, nullptr, answer);
}

/// Reservations are looked at under the lock that lets the request in: whoever has preempted an
/// initiator, and has been told so, never sees another write of its.
Disk::Start Disk::admit(void* srb, const scsi::BlockRequest& block, const scsi::Command* command,
                        scsi::Answer& answer) noexcept {
    const scsi::Step step = scsi::first_step(description_, block);
    const std::uint64_t now = platform::interrupt_time();
    Waiter* waiter = nullptr;
    {
        const platform::SpinGuard guard(queue_lock_);
        if (state_ != DiskState::online) return Start::no_device;
        if (command != nullptr && excluded(*command)) {
            answer = reservation_conflict;
            return Start::answered;
        }
        Request* const request = table_.take();
        if (request == nullptr) return Start::full;
        request->state = RequestState::pending;
        request->doomed = false;
        request->was_submitted = false;
        request->nexus = command != nullptr ? command->nexus : scsi::Nexus{0};
        request->received_at = now;
        request->srb = srb;
        request->block = block;
        request->step = step;
        pending_.push_back(*request);
        const bool owes_nothing =
            counters_.outstanding() == 0 && owes_aborted_from_ == 0 && owes_unfetched_from_ == 0;
        if (owes_nothing) unanswered_since_ = now;
        ++counters_.received;
        ++counters_.unsubmitted;
        counters_.last_received_at = now;
        waiter = waiter_to_wake();
    }
    wake(waiter);
    return Start::pending;
}

Disk::Drain Disk::drain(Cause cause, const StaleRule& rule, ResetWait& wait) noexcept {
    return drain_matching(cause, Filter{}, rule, &wait);
}

Disk::Drain Disk::drain(Cause cause, const StaleRule& rule) noexcept {
    return drain_matching(cause, Filter{}, rule, nullptr);
}

Disk::Drain Disk::abort(const void* victim_srb, const StaleRule& rule, ResetWait& wait) noexcept {
    return drain_matching(Cause::aborted, Filter{.victim = victim_srb}, rule, &wait);
}

Disk::Drain Disk::abort_nexus(scsi::Nexus nexus, const StaleRule& rule, ResetWait& wait) noexcept {
    scsi::NexusSet initiator;
    initiator.add(nexus);
    return drain_matching(Cause::aborted, Filter{.initiators = &initiator}, rule, &wait);
}

Disk::Drain Disk::clear(scsi::Nexus by, const StaleRule& rule, ResetWait& wait) noexcept {
    return drain_matching(Cause::aborted, Filter{.cleared_by = &by}, rule, &wait);
}

Disk::Drain Disk::drain_matching(Cause cause, const Filter& filter, const StaleRule& rule,
                                 ResetWait* wait) noexcept {
    Drain result;
    IntrusiveList<Request> ended;
    {
        const platform::SpinGuard guard(queue_lock_);
        result.stale = any_stale(rule, platform::interrupt_time());
        if (filter.cleared_by != nullptr) tell_of_clearing(*filter.cleared_by);
        detach_matching(cause, filter, ended);
        if (filter.resets()) {
            reservations_.reset();
            reserved_ = reservations_.any();
        }
        if (doomed_count_ > 0) {
            result.finished = false;
            if (wait != nullptr) resets_.push_back(*wait);
            // This drain counts too, so that no copier reports the reset as done while we still
            // end the others.
            ++doomed_count_;
        }
    }
    end_drained(ended, cause);
    if (!result.finished) settle_doomed();
    return result;
}

/// Takes every matching request off its list, into `ended`; those under copy are doomed instead.
void Disk::detach_matching(Cause cause, const Filter& filter,
                           IntrusiveList<Request>& ended) noexcept {
    for (Request* request = pending_.front(); request != nullptr;) {
        Request* const next = pending_.after(*request);
        if (filter.matches(*request)) {
            if (request->was_submitted && scsi::runs_alone(request->block)) runs_alone_ = false;
            IntrusiveList<Request>::remove(*request);
            request->state = RequestState::ending;
            ended.push_back(*request);
        }
        request = next;
    }
    for (Request* request = active_.front(); request != nullptr;) {
        Request* const next = active_.after(*request);
        if (!filter.matches(*request)) {
            // Someone else's.
        } else if (request->state == RequestState::submitted) {
            leave_active(*request);
            request->state = RequestState::ending;
            ended.push_back(*request);
        } else if (!request->doomed) {
            request->doomed = true;
            request->doom = cause;
            ++doomed_count_;
        }
        request = next;
    }
}

/// Completes what a drain detached. A slot is free again before its SRB completes, so that the
/// initiator's next command finds one.
void Disk::end_drained(IntrusiveList<Request>& ended, Cause cause) noexcept {
    while (Request* const request = ended.pop_front()) {
        void* const srb = request->srb;
        Waiter* waiter = nullptr;
        {
            const platform::SpinGuard guard(queue_lock_);
            count_end(*request, cause);
            table_.give_back(*request);
            waiter = waiter_to_wake_if_unseen();
        }
        wake(waiter);
        port_->complete(srb, cause, scsi::Answer{});
    }
}

/// One doomed request, or one drain, is through. The last one reports the resets as done.
void Disk::settle_doomed() noexcept {
    IntrusiveList<ResetWait> done;
    {
        const platform::SpinGuard guard(queue_lock_);
        if (--doomed_count_ > 0) return;
        while (ResetWait* const reset = resets_.pop_front())
            done.push_back(*reset);
    }
    while (ResetWait* const reset = done.pop_front())
        port_->reset_done(reset->srb);
}

bool Disk::any_stale(const StaleRule& rule, std::uint64_t now) noexcept {
    constexpr std::uint64_t ticks_per_ms = 10000;
    if (unanswered_since_ == 0) return false;
    // Two processors' clocks may differ by a tick: what came just now may be of the future.
    const auto longer_than = [now](std::uint64_t since, std::uint64_t time_ms) {
        return now > since && now - since > time_ms * ticks_per_ms;
    };
    if (!longer_than(unanswered_since_, rule.connection_timeout_ms)) return false;
    const auto too_old = [&](std::uint64_t received_at) {
        return longer_than(received_at, rule.request_timeout_ms);
    };
    // Windows aborts a request after its own time-out, which may be shorter, and sends it anew: the
    // ones aborted before count as long as they have not been answered.
    if (owes_aborted_from_ != 0 && too_old(owes_aborted_from_)) return true;
    if (owes_unfetched_from_ != 0 && too_old(owes_unfetched_from_)) return true;
    for (Request* r = active_.front(); r != nullptr; r = active_.after(*r))
        if (too_old(r->received_at)) return true;
    for (Request* r = pending_.front(); r != nullptr; r = pending_.after(*r))
        if (too_old(r->received_at)) return true;
    return false;
}

}  // namespace wnbd::engine
