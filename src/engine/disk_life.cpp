// SPDX-License-Identifier: LGPL-2.1-or-later
// How a disk comes and goes, who may use it meanwhile, and what it tells of itself.
#include "engine/disk.h"

namespace wnbd::engine {

void Disk::initialize(Port& port) noexcept {
    port_ = &port;
    platform::initialize(idle_, platform::EventKind::manual_reset);
}

bool Disk::prepare(std::uint64_t connection_id, const scsi::Disk& description,
                   std::uint64_t block_count, std::uint32_t max_requests) noexcept {
    if (!table_.allocate(max_requests)) return false;
    connection_id_ = connection_id;
    description_ = description;
    block_count_ = block_count;
    for (auto& attention : attentions_)
        attention = 0;
    reservations_ = scsi::Reservations{};
    reserved_ = false;
    active_count_ = 0;
    doomed_count_ = 0;
    runs_alone_ = false;
    posted_unseen_ = false;
    unanswered_since_ = 0;
    owes_aborted_from_ = 0;
    owes_unfetched_from_ = 0;
    counters_ = Counters{};
    state_ = DiskState::starting;
    return true;
}

void Disk::go_online() noexcept {
    platform::clear(idle_);
    state_ = DiskState::online;
    references_ = 0;
}

bool Disk::begin_removal() noexcept {
    IntrusiveList<Request> ended;
    {
        const platform::SpinGuard guard(queue_lock_);
        if (state_ != DiskState::online) return false;
        state_ = DiskState::removing;
        detach_matching(Cause::removed, Filter{}, ended);
    }
    if (references_.fetch_or(closed_bit) == 0) platform::set(idle_);
    end_drained(ended, Cause::removed);
    disconnect_waiters();
    return true;
}

/// Nobody queues up any more; whoever waits is woken and finds the disk removed. One at a time: a
/// waiter off the list is nobody's but its waker's, and may be gone right after.
void Disk::disconnect_waiters() noexcept {
    Waiter* waiter = nullptr;
    do {
        {
            const platform::SpinGuard guard(queue_lock_);
            waiter = waiters_.pop_front();
        }
        wake(waiter);
    } while (waiter != nullptr);
}

void Disk::await_idle() noexcept {
    platform::wait(idle_, false);
}

void Disk::finish_removal() noexcept {
    table_.release();
    state_ = DiskState::gone;
}

bool Disk::acquire() noexcept {
    std::uint64_t references = references_.load(std::memory_order_relaxed);
    do {
        if ((references & closed_bit) != 0) return false;
    } while (
        !references_.compare_exchange_weak(references, references + 1, std::memory_order_acquire));
    return true;
}

void Disk::release() noexcept {
    const std::uint64_t before = references_.fetch_sub(1, std::memory_order_acq_rel);
    if (before == (closed_bit | 1)) platform::set(idle_);
}

Counters Disk::counters() noexcept {
    const platform::SpinGuard guard(queue_lock_);
    return counters_;
}

bool Disk::has_outstanding() noexcept {
    const platform::SpinGuard guard(queue_lock_);
    return !pending_.empty() || !active_.empty();
}

}  // namespace wnbd::engine
