// SPDX-License-Identifier: LGPL-2.1-or-later
// Events, semaphores and waits. An object's SignalState is the word its waiters sleep on, so that a
// signal without a waiter costs no system call at all.
#include "driver/ddk/kernel.h"
#include "lab/kernel/locks.h"
#include "lab/kernel/os.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

constexpr UCHAR semaphore_type = 5;  // KOBJECTS; the two kinds of event are 0 and 1

// Waits for several objects sleep here; signals touch it only while there is such a wait.
std::atomic<std::uint32_t> signal_sequence{0};
std::atomic<std::uint32_t> multiple_waiters{0};

void wake(volatile LONG* signal_state, bool one) {
    // A synchronization event lets one waiter through: waking more would only send them back to
    // sleep.
    if (one) {
        os::wake_one(signal_state);
    } else {
        os::wake_all(signal_state);
    }
    if (multiple_waiters.load() == 0) return;
    signal_sequence.fetch_add(1);
    os::wake_all(&signal_sequence);
}

/// Takes the object's signal if there is one.
bool consume(DISPATCHER_HEADER& object) {
    auto* const state = &object.SignalState;
    switch (object.Type) {
        case NotificationEvent: return __atomic_load_n(state, __ATOMIC_ACQUIRE) != 0;
        case SynchronizationEvent: {
            LONG set = 1;
            return __atomic_compare_exchange_n(state, &set, 0, false, __ATOMIC_ACQ_REL,
                                               __ATOMIC_RELAXED);
        }
        case semaphore_type: {
            LONG count = __atomic_load_n(state, __ATOMIC_RELAXED);
            while (count > 0) {
                if (__atomic_compare_exchange_n(state, &count, count - 1, false, __ATOMIC_ACQ_REL,
                                                __ATOMIC_RELAXED)) {
                    return true;
                }
            }
            return false;
        }
        default:
            fatal_violation("bad-object", "a wait for %p, which is no event or semaphore (type %u)",
                            static_cast<void*>(&object), object.Type);
    }
}

/// When a wait ends; gives the time left in units of 100 ns, -1 for ever.
class Deadline {
  public:
    explicit Deadline(const LARGE_INTEGER* timeout) noexcept {
        if (timeout == nullptr) return;
        endless_ = false;
        const std::int64_t value = timeout->QuadPart;
        const std::int64_t relative =
            value <= 0 ? -value : value - static_cast<std::int64_t>(os::system_time_100ns());
        at_ = os::now_100ns() + static_cast<std::uint64_t>(relative > 0 ? relative : 0);
    }
    [[nodiscard]] std::int64_t left_100ns() const noexcept {
        if (endless_) return -1;
        const std::uint64_t now = os::now_100ns();
        return now >= at_ ? 0 : static_cast<std::int64_t>(at_ - now);
    }

  private:
    bool endless_ = true;
    std::uint64_t at_ = 0;
};

void check_wait(const LARGE_INTEGER* timeout, const char* function) {
    const ThreadState& thread = this_thread();
    const bool poll = timeout != nullptr && timeout->QuadPart == 0;
    if (poll) {
        require_irql_at_most(DISPATCH_LEVEL, function);
        return;
    }
    require_irql_at_most(APC_LEVEL, function);
    for (unsigned index = 0; index < thread.held_count; ++index) {
        violation("wait-with-lock", "%s while lock %p is held", function, thread.held[index].lock);
    }
}

/// One sleep of a wait. False: the thread is to give up its wait.
bool sleep_on(volatile void* address, std::uint32_t expected, std::int64_t left_100ns,
              bool breakable) {
    ThreadState& thread = this_thread();
    counters().waits.fetch_add(1, std::memory_order_relaxed);
    if (breakable) {
        thread.waiting_on.store(address);
        if (thread.dying.load()) {
            thread.waiting_on.store(nullptr);
            return false;
        }
    } else {
        thread.in_wait.store(true);
    }
    os::wait_on(address, expected, left_100ns);
    thread.waiting_on.store(nullptr);
    thread.in_wait.store(false);
    return true;
}

NTSTATUS broken_status(BOOLEAN alertable) {
    return alertable ? STATUS_ALERTED : STATUS_USER_APC;
}

NTSTATUS consume_several(ULONG count, PVOID objects[], WAIT_TYPE type) {
    if (type == WaitAny) {
        for (ULONG index = 0; index < count; ++index) {
            if (consume(*static_cast<DISPATCHER_HEADER*>(objects[index])))
                return static_cast<NTSTATUS>(index);
        }
        return STATUS_PENDING;
    }
    for (ULONG index = 0; index < count; ++index) {
        if (static_cast<DISPATCHER_HEADER*>(objects[index])->SignalState <= 0)
            return STATUS_PENDING;
    }
    for (ULONG index = 0; index < count; ++index)
        consume(*static_cast<DISPATCHER_HEADER*>(objects[index]));
    return STATUS_SUCCESS;
}

}  // namespace

extern "C" {

VOID NTAPI lab_KeInitializeEvent(PRKEVENT event, EVENT_TYPE type, BOOLEAN state) {
    RtlZeroMemory(event, sizeof *event);
    event->Header.Type = static_cast<UCHAR>(type);
    event->Header.Size = sizeof *event / sizeof(LONG);
    event->Header.SignalState = state ? 1 : 0;
    event->Header.WaitListHead.Flink = event->Header.WaitListHead.Blink =
        &event->Header.WaitListHead;
}

LONG NTAPI lab_KeSetEvent(PRKEVENT event, KPRIORITY, BOOLEAN wait) {
    require_irql_at_most(wait ? APC_LEVEL : DISPATCH_LEVEL, "KeSetEvent");
    volatile LONG* const state = &event->Header.SignalState;
    const bool one = event->Header.Type == SynchronizationEvent;
    const LONG before = __atomic_exchange_n(state, 1, __ATOMIC_SEQ_CST);
    // From here on the waiter may have freed the event: only its address is used.
    if (before == 0) wake(state, one);
    return before;
}

VOID NTAPI lab_KeClearEvent(PRKEVENT event) {
    __atomic_store_n(&event->Header.SignalState, 0, __ATOMIC_SEQ_CST);
}

LONG NTAPI lab_KeResetEvent(PRKEVENT event) {
    return __atomic_exchange_n(&event->Header.SignalState, 0, __ATOMIC_SEQ_CST);
}

LONG NTAPI lab_KeReadStateEvent(PRKEVENT event) {
    return __atomic_load_n(&event->Header.SignalState, __ATOMIC_SEQ_CST);
}

VOID NTAPI lab_KeInitializeSemaphore(PRKSEMAPHORE semaphore, LONG count, LONG limit) {
    RtlZeroMemory(semaphore, sizeof *semaphore);
    semaphore->Header.Type = semaphore_type;
    semaphore->Header.Size = sizeof *semaphore / sizeof(LONG);
    semaphore->Header.SignalState = count;
    semaphore->Header.WaitListHead.Flink = semaphore->Header.WaitListHead.Blink =
        &semaphore->Header.WaitListHead;
    semaphore->Limit = limit;
}

LONG NTAPI lab_KeReleaseSemaphore(PRKSEMAPHORE semaphore, KPRIORITY, LONG adjustment, BOOLEAN) {
    require_irql_at_most(DISPATCH_LEVEL, "KeReleaseSemaphore");
    const LONG limit = semaphore->Limit;
    volatile LONG* const state = &semaphore->Header.SignalState;
    const LONG before = __atomic_fetch_add(state, adjustment, __ATOMIC_SEQ_CST);
    if (adjustment <= 0 || before > limit - adjustment) {
        fatal_violation("semaphore-limit", "KeReleaseSemaphore(%p) over its limit %ld",
                        static_cast<void*>(semaphore), static_cast<long>(limit));
    }
    wake(state, false);
    return before;
}

LONG NTAPI lab_KeReadStateSemaphore(PRKSEMAPHORE semaphore) {
    return __atomic_load_n(&semaphore->Header.SignalState, __ATOMIC_SEQ_CST);
}

NTSTATUS NTAPI lab_KeWaitForSingleObject(PVOID object, KWAIT_REASON, KPROCESSOR_MODE mode,
                                         BOOLEAN alertable, PLARGE_INTEGER timeout) {
    check_wait(timeout, "KeWaitForSingleObject");
    auto& header = *static_cast<DISPATCHER_HEADER*>(object);
    if (consume(header)) return STATUS_SUCCESS;
    const Deadline deadline(timeout);
    const bool breakable = alertable || mode == UserMode;
    for (;;) {
        const std::int64_t left = deadline.left_100ns();
        if (left == 0) return STATUS_TIMEOUT;
        if (!sleep_on(&header.SignalState, 0, left, breakable)) return broken_status(alertable);
        if (consume(header)) return STATUS_SUCCESS;
    }
}

NTSTATUS NTAPI lab_KeWaitForMultipleObjects(ULONG count, PVOID objects[], WAIT_TYPE type,
                                            KWAIT_REASON, KPROCESSOR_MODE mode, BOOLEAN alertable,
                                            PLARGE_INTEGER timeout, PKWAIT_BLOCK blocks) {
    check_wait(timeout, "KeWaitForMultipleObjects");
    if (count > MAXIMUM_WAIT_OBJECTS || (count > THREAD_WAIT_OBJECTS && blocks == nullptr)) {
        fatal_violation("wait-count", "KeWaitForMultipleObjects of %lu objects %s wait blocks",
                        static_cast<unsigned long>(count), blocks == nullptr ? "without" : "with");
    }
    const Deadline deadline(timeout);
    const bool breakable = alertable || mode == UserMode;
    multiple_waiters.fetch_add(1);
    NTSTATUS status;
    for (;;) {
        const std::uint32_t seen = signal_sequence.load();
        status = consume_several(count, objects, type);
        if (status != STATUS_PENDING) break;
        const std::int64_t left = deadline.left_100ns();
        if (left == 0) {
            status = STATUS_TIMEOUT;
            break;
        }
        if (!sleep_on(&signal_sequence, seen, left, breakable)) {
            status = broken_status(alertable);
            break;
        }
    }
    multiple_waiters.fetch_sub(1);
    return status;
}

NTSTATUS NTAPI lab_KeDelayExecutionThread(KPROCESSOR_MODE mode, BOOLEAN alertable,
                                          PLARGE_INTEGER interval) {
    KEVENT never;
    lab_KeInitializeEvent(&never, NotificationEvent, FALSE);
    const NTSTATUS status =
        lab_KeWaitForSingleObject(&never, DelayExecution, mode, alertable, interval);
    return status == STATUS_TIMEOUT ? STATUS_SUCCESS : status;
}

}  // extern "C"
