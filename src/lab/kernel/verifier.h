// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's Driver Verifier: where rules are reported, what each thread holds, what a call costs,
// what is to fail. Always on. Everything here may be called from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace wnbd::lab::kernel {

// ---- Violations
// ----------------------------------------------------------------------------------------------------

struct Violation {
    std::string rule;
    std::string detail;
};

/// Reports a broken rule: prints `VERIFIER: <rule>: <detail>` and counts it. Never returns an error
/// to the driver.
[[gnu::format(gnu_printf, 2, 3)]] void violation(const char* rule, const char* format, ...);
/// Like violation() for what nobody can go on from (a deadlock on oneself): the process ends with
/// code 3.
[[noreturn, gnu::format(gnu_printf, 2, 3)]] void fatal_violation(const char* rule,
                                                                 const char* format, ...);
/// Called by fatal_violation() before the process ends; tests leave it by an exception.
void set_fatal_hook(void (*hook)()) noexcept;
/// Number of violations so far. A host must end with a non-zero code if it is not 0.
std::uint64_t violation_count() noexcept;
/// Takes the violations recorded since the last call and sets the count back; for tests that
/// provoke one.
std::vector<Violation> take_violations();
/// Tests that provoke violations keep them from standard error.
void set_violations_quiet(bool quiet) noexcept;

// ---- Threads
// -------------------------------------------------------------------------------------------------------

inline constexpr unsigned char passive_level = 0;
inline constexpr unsigned char apc_level = 1;
inline constexpr unsigned char dispatch_level = 2;

enum class LockKind : std::uint8_t { spin, fast_mutex, guarded_mutex, push_lock, mutex };

struct HeldLock {
    const void* lock;
    LockKind kind;
    bool shared;
};

/// One per thread, never freed while the process lives, so that a stale owner pointer can still be
/// read.
struct ThreadState {
    static constexpr unsigned max_held = 16;

    unsigned char irql = passive_level;
    bool raising = false;           ///< our own structured exception is under way
    unsigned critical_regions = 0;  ///< KeEnterCriticalRegion, KeEnterGuardedRegion
    unsigned held_count = 0;
    HeldLock held[max_held] = {};
    std::uint32_t thread_id = 0;
    std::uint64_t process_id = 0;    ///< of the simulated process this thread works for
    void* process = nullptr;         ///< the host's own record of that process
    std::atomic<bool> dying{false};  ///< its process is being ended: alertable waits return
    std::atomic<bool> in_wait{false};
    std::atomic<volatile void*> waiting_on{nullptr};
    std::uint64_t order_cache[64] = {};
    std::uint32_t order_epoch = 0;
};

ThreadState& this_thread() noexcept;
/// Calls `visit` with each thread that ever entered the kernel.
void for_each_thread(void (*visit)(ThreadState& thread, void* context), void* context);

/// Reports a call that is not allowed at the thread's IRQL.
void require_irql_at_most(unsigned char highest, const char* function);

/// Around every call into the driver: the IRQL must be the same and no lock may be held when it
/// comes back.
class CallbackGuard {
  public:
    explicit CallbackGuard(const char* what) noexcept
        : what_(what), irql_(this_thread().irql), held_count_(this_thread().held_count) {}
    ~CallbackGuard();
    CallbackGuard(const CallbackGuard&) = delete;
    CallbackGuard& operator=(const CallbackGuard&) = delete;

  private:
    const char* what_;
    unsigned char irql_;
    unsigned held_count_;
};

/// Runs what lies in its scope at a raised IRQL, as Storport does with HwStartIo.
class RaisedIrql {
  public:
    explicit RaisedIrql(unsigned char irql) noexcept : before_(this_thread().irql) {
        this_thread().irql = irql;
    }
    ~RaisedIrql() { this_thread().irql = before_; }
    RaisedIrql(const RaisedIrql&) = delete;
    RaisedIrql& operator=(const RaisedIrql&) = delete;

  private:
    unsigned char before_;
};

/// Ends the waits of all threads that work for the process and are in an alertable wait; others go
/// on waiting, as on Windows. Returns when none of them is in such a wait, or false after
/// `timeout_ms`.
bool alert_process(std::uint64_t process_id, std::uint32_t timeout_ms);
/// Number of threads of the process that are inside a wait that nothing can break.
unsigned stuck_threads(std::uint64_t process_id);

// ---- Who calls
// -----------------------------------------------------------------------------------------------------

/// The image under test. Calls from elsewhere (the lab's own port driver) are checked, but not
/// counted and not failed. While no image is set, every caller is the driver.
void set_driver_image(const void* base, std::size_t bytes) noexcept;
bool is_driver(const void* return_address) noexcept;

// ---- Counters
// ------------------------------------------------------------------------------------------------------

/// What the driver did since reset_counters(). Read while nothing runs, or as an estimate.
struct Counters {
    std::atomic<std::uint64_t> calls{0};        ///< of functions of this table that cost something
    std::atomic<std::uint64_t> allocations{0};  ///< pool blocks
    std::atomic<std::uint64_t> mdl_allocations{0};
    std::atomic<std::uint64_t> page_locks{0};  ///< MmProbeAndLockPages
    std::atomic<std::uint64_t> pages_locked{0};
    std::atomic<std::uint64_t> mappings{0};
    std::atomic<std::uint64_t> spin_locks{0};
    std::atomic<std::uint64_t> waits{0};   ///< waits that did not return at once
    std::atomic<std::uint64_t> copies{0};  ///< memcpy and memmove of payload_size bytes or more
    std::atomic<std::uint64_t> bytes_copied{0};  ///< by those copies
};
inline constexpr std::size_t payload_size = 512;
Counters& counters() noexcept;
void reset_counters() noexcept;

// ---- Fault injection
// -----------------------------------------------------------------------------------------------

struct FaultPlan {
    std::uint64_t seed = 0;
    double pool_probability = 0;  ///< 0..1 of each pool allocation to fail
    double mdl_probability = 0;   ///< of IoAllocateMdl and of mapping locked pages
    double lock_probability = 0;  ///< of MmProbeAndLockPages to raise STATUS_ACCESS_VIOLATION
    std::uint64_t pool_fail_at =
        0;  ///< the n-th pool allocation from now fails (1 = the next); 0: none
    std::uint64_t mdl_fail_at = 0;
};
void set_fault_plan(const FaultPlan& plan) noexcept;
enum class FaultPoint : std::uint8_t { pool, mdl, mapping, lock };
bool should_fail(FaultPoint point) noexcept;

// ---- The end
// -------------------------------------------------------------------------------------------------------

/// Checks at unload that nothing is left: pool by tag, MDLs, work items, ETW registrations. Each
/// leak is a violation.
void check_balance();

/// Called by the pool before memory goes: a lock in it must not be held, and its order is
/// forgotten.
void forget_locks(const void* start, std::size_t bytes);
/// Reports access violations in the pool and emulates CR8 (KeGetCurrentIrql and KfRaiseIrql are
/// inlines on x64). For hosts whose process does not do this by itself.
void install_fault_reporter();

}  // namespace wnbd::lab::kernel
