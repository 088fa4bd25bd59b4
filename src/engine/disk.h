// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk and the life of its requests. See request.h for the states of a request.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "base/intrusive_list.h"
#include "engine/counters.h"
#include "engine/platform.h"
#include "engine/port.h"
#include "engine/request_table.h"
#include "scsi/disk.h"
#include "scsi/reservations.h"

namespace wnbd::engine {

/// A disk's life: gone -> starting -> online -> removing -> gone.
enum class DiskState : std::uint8_t { gone, starting, online, removing };

/// A thread that waits for a request. It lives on that thread's stack.
struct Waiter : ListLink {
    Waiter() noexcept { platform::initialize(wake, platform::EventKind::auto_reset); }
    platform::Event wake;
};

/// A reset (or abort) that waits for copies under way. It lives in the reset SRB's extension.
struct ResetWait : ListLink {
    void* srb = nullptr;
};

/// When nobody is thought to serve a disk any more: user space has owed an answer for over
/// connection_timeout_ms without any sign of life, and among what it owes, aborted requests
/// included, is a request older than request_timeout_ms. Looked at whenever requests are aborted;
/// one that owes nothing is never stale.
struct StaleRule {
    std::uint64_t request_timeout_ms = 15000;
    std::uint64_t connection_timeout_ms = 60000;
};

class Disk {
  public:
    Disk() = default;
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;

    // --- Life. Adapter calls these, one at a time for one disk, under its control mutex but for
    // --- await_idle().

    /// Once, before anything else.
    void initialize(Port& port) noexcept;
    /// gone -> starting. False when there is no memory for the request table.
    [[nodiscard]] bool prepare(std::uint64_t connection_id, const scsi::Disk& description,
                               std::uint64_t block_count, std::uint32_t max_requests) noexcept;
    /// starting -> online: from now on acquire() succeeds.
    void go_online() noexcept;
    /// online -> removing: new commands find no device, waiting fetches are told to disconnect, and
    /// every request ends, but for those under copy, whose copier ends them. False when another
    /// thread has begun the removal.
    [[nodiscard]] bool begin_removal() noexcept;
    /// Waits until nobody holds a reference. PASSIVE_LEVEL.
    void await_idle() noexcept;
    /// removing -> gone. Nobody holds a reference.
    void finish_removal() noexcept;

    // --- References. Whoever found the disk holds one while using it.

    [[nodiscard]] bool acquire() noexcept;
    void release() noexcept;

    [[nodiscard]] std::uint64_t connection_id() const noexcept {
        return connection_id_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] DiskState state() const noexcept { return state_.load(); }
    [[nodiscard]] bool removing() const noexcept { return state() != DiskState::online; }

    // --- From the initiator. Any IRQL up to DISPATCH_LEVEL, any thread.

    enum class Start : std::uint8_t {
        pending,    // Port::complete() will follow, or has been called
        answered,   // `answer` holds the result; the caller completes
        no_device,  // the disk is being removed
        full,       // every slot of the table is in use: the initiator should try again
    };
    /// Runs a command. A block command's SRB belongs to the disk from `pending` on.
    [[nodiscard]] Start start(void* srb, const scsi::Command& command,
                              scsi::Answer& answer) noexcept;
    /// Queues a flush that no CDB asked for (SRB FLUSH and SHUTDOWN). Answers at once without
    /// cache.
    [[nodiscard]] Start flush(void* srb, scsi::Answer& answer) noexcept;

    struct Drain {
        bool finished = true;  // false: Port::reset_done() follows for wait.srb
        bool stale = false;    // the stale rule holds: the connection should be removed
    };
    /// Ends every request with `cause`: LUN reset, target reset, bus reset.
    [[nodiscard]] Drain drain(Cause cause, const StaleRule& rule, ResetWait& wait) noexcept;
    /// The same for a caller that nothing waits for (bus reset): what is under copy ends a moment
    /// later, and `finished` says whether there was any.
    [[nodiscard]] Drain drain(Cause cause, const StaleRule& rule) noexcept;
    /// Ends the requests of one initiator (ABORT TASK SET).
    [[nodiscard]] Drain abort_nexus(scsi::Nexus nexus, const StaleRule& rule,
                                    ResetWait& wait) noexcept;
    /// Ends every request (CLEAR TASK SET). Initiators other than `by` whose requests end so are
    /// told by a unit attention. Reservations stay.
    [[nodiscard]] Drain clear(scsi::Nexus by, const StaleRule& rule, ResetWait& wait) noexcept;
    /// Ends the one request that `victim_srb` is.
    [[nodiscard]] Drain abort(const void* victim_srb, const StaleRule& rule,
                              ResetWait& wait) noexcept;

    // --- Initiators. Every scsi::Command says which nexus it came by; the number is the host's.

    /// A new nexus: its first command reports POWER ON, RESET, OR BUS DEVICE RESET OCCURRED. For
    /// hosts whose initiators come and go.
    void begin_nexus(scsi::Nexus nexus) noexcept;
    /// The nexus is gone (a logout, a lost connection): what it RESERVEd is free, and what waited
    /// to be told to it is forgotten. Its registration stays. The host may give the number to
    /// another initiator once registered() is false.
    void lose_nexus(scsi::Nexus nexus) noexcept;
    [[nodiscard]] bool registered(scsi::Nexus nexus) noexcept;
    /// After a reset: every initiator is told by a unit attention. Whether to tell is the host's to
    /// decide; a port driver that has asked for the reset knows of it.
    void tell_of_reset() noexcept;

    // --- From the serving process. PASSIVE_LEVEL, any thread.

    enum class Take : std::uint8_t {
        request,       // taken: fill it out, then publish(), return_unfetched() or reject()
        empty,         // `waiter` is queued: wait for it, then take() again or withdraw()
        disconnected,  // the disk is being removed
    };
    [[nodiscard]] Take take(Waiter& waiter, Request*& request) noexcept;
    /// Gives up waiting. A take() that said `empty` is followed by a wait for `waiter`: when it was
    /// signalled by take() again, when it was alerted (or never begun) by withdraw().
    void withdraw(Waiter& waiter) noexcept;

    /// The copy to user space is done; from now on the tag can be answered.
    void publish(Request& request) noexcept;
    /// The copy failed for a reason of the caller's: another fetch may have the request.
    void return_unfetched(Request& request) noexcept;
    /// The request can't be handed out at all: it fails.
    void reject(Request& request) noexcept;

    /// The submitted request a tag names, now this thread's: finish_reply() or fail_reply()
    /// follows. nullptr for a request that was aborted, answered before, or never was.
    [[nodiscard]] Request* begin_reply(Tag tag) noexcept;
    /// Takes the reply's data and status; goes on with the next step or ends the request.
    void finish_reply(Request& request, const scsi::Answer& status,
                      std::span<const std::uint8_t> reply) noexcept;
    /// The reply was no answer to this request: it goes on waiting for one.
    void return_unanswered(Request& request) noexcept;
    /// The reply's data could not be had: the request fails.
    void fail_reply(Request& request) noexcept;

    // --- From a server in this very process, which works in the SRB's buffer itself and waits for
    // --- nobody. Up to DISPATCH_LEVEL, any thread. Whatever makes requests takeable (start, the
    // --- end of another one, a drain) is followed by take_now() until it gives nothing more.

    /// The next request to be served, this caller's until finish_step() or fail_reply(); a drain
    /// meanwhile takes effect then. nullptr: there is nothing to do now.
    [[nodiscard]] Request* take_now() noexcept;
    /// The request's step is done, and its data has been moved: goes on with the next step, which
    /// take_now() gives, or ends the request.
    void finish_step(Request& request, const scsi::Answer& status) noexcept;

    // --- Description.

    [[nodiscard]] const scsi::Disk& description() const noexcept { return description_; }
    [[nodiscard]] std::uint64_t block_count() const noexcept {
        return block_count_.load(std::memory_order_relaxed);
    }
    /// A new capacity; every initiator is told by a unit attention.
    void resize(std::uint64_t block_count) noexcept;
    [[nodiscard]] Counters counters() noexcept;
    [[nodiscard]] bool has_outstanding() noexcept;
    /// The SRB's data buffer, for the thread that owns the request.
    [[nodiscard]] std::span<std::uint8_t> data(const Request& request) noexcept {
        return port_->data(request.srb);
    }

  private:
    /// What a drain is about: one SRB, the requests of some initiators, or everything.
    struct Filter {
        const void* victim = nullptr;
        const scsi::NexusSet* initiators = nullptr;
        const scsi::Nexus* cleared_by = nullptr;  // who ends everything, without a reset

        [[nodiscard]] bool resets() const noexcept {
            return victim == nullptr && initiators == nullptr && cleared_by == nullptr;
        }
        [[nodiscard]] bool matches(const Request& request) const noexcept {
            return (victim == nullptr || request.srb == victim) &&
                   (initiators == nullptr || initiators->contains(request.nexus));
        }
    };
    /// `command` is nullptr for what no initiator has sent.
    Start admit(void* srb, const scsi::BlockRequest& block, const scsi::Command* command,
                scsi::Answer& answer) noexcept;
    [[nodiscard]] bool take_unit_attention(const scsi::Command& command,
                                           scsi::Answer& answer) noexcept;
    void raise(const scsi::NexusSet& nexuses, std::uint8_t attention) noexcept;
    [[nodiscard]] scsi::Answer run(const scsi::ReservationCommand& command,
                                   scsi::Nexus nexus) noexcept;
    [[nodiscard]] bool excluded_now(const scsi::Command& command) noexcept;
    Drain drain_matching(Cause cause, const Filter& filter, const StaleRule& rule,
                         ResetWait* wait) noexcept;
    void end_drained(IntrusiveList<Request>& ended, Cause cause) noexcept;
    void end_owned(Request& request, Cause cause, const scsi::Answer& answer) noexcept;
    void settle_doomed() noexcept;
    void disconnect_waiters() noexcept;
    static void wake(Waiter* waiter) noexcept;

    // Under queue_lock_:
    [[nodiscard]] bool can_take_front() noexcept;
    [[nodiscard]] Request& take_front() noexcept;
    void note_submitted(Request& request) noexcept;
    [[nodiscard]] Waiter* waiter_to_wake() noexcept;
    [[nodiscard]] Waiter* waiter_to_wake_if_unseen() noexcept;
    [[nodiscard]] Waiter* requeue_front(Request& request) noexcept;
    void leave_active(Request& request) noexcept;
    void count_end(const Request& request, Cause cause) noexcept;
    void detach_matching(Cause cause, const Filter& filter, IntrusiveList<Request>& ended) noexcept;
    void tell_of_clearing(scsi::Nexus by) noexcept;
    [[nodiscard]] bool excluded(const scsi::Command& command) noexcept;
    [[nodiscard]] bool any_stale(const StaleRule& rule, std::uint64_t now) noexcept;
    void note_sign_of_life(std::uint64_t now) noexcept;

    Port* port_ = nullptr;
    std::atomic<DiskState> state_{DiskState::gone};
    std::atomic<std::uint64_t> connection_id_{0};
    std::atomic<std::uint64_t> block_count_{0};
    /// What each initiator is to be told, a bit per unit attention.
    std::atomic<std::uint8_t> attentions_[scsi::max_nexuses] = {};
    /// reservations_.any(), to be asked without the lock: all that a reservation costs those who
    /// have none.
    std::atomic<bool> reserved_{false};
    scsi::Disk description_{};

    // References: the count, and above it the bit that lets no new one in.
    static constexpr std::uint64_t closed_bit = std::uint64_t{1} << 63;
    std::atomic<std::uint64_t> references_{closed_bit};
    platform::Event idle_;

    // Guards everything below. Held for list and counter work only.
    platform::SpinLock queue_lock_;
    RequestTable table_;
    IntrusiveList<Request>
        pending_;                    // in order of arrival; a request's next step goes to the front
    IntrusiveList<Request> active_;  // fetching, submitted, replying
    IntrusiveList<Waiter> waiters_;  // the last to come is woken first: its stack is warm
    IntrusiveList<ResetWait> resets_;
    std::uint32_t active_count_ = 0;
    /// Doomed requests not ended yet, and drains that are still ending others.
    std::uint32_t doomed_count_ = 0;
    bool runs_alone_ = false;     // the one active request tolerates no other
    bool posted_unseen_ = false;  // something was queued while nothing could be taken
    /// Since when user space has owed an answer without giving any sign of life; 0 = it owes none.
    std::uint64_t unanswered_since_ = 0;
    // What it owes besides the outstanding: when the oldest request came that was aborted after it
    // was fetched, and the oldest that was aborted before anybody came for it; 0 = none.
    std::uint64_t owes_aborted_from_ = 0;
    std::uint64_t owes_unfetched_from_ = 0;
    Counters counters_;
    scsi::Reservations reservations_;
};

}  // namespace wnbd::engine
