// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/kernel/verifier.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <utility>

#include "lab/kernel/os.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/services.h"
#include "lab/kernel/user_memory.h"

namespace wnbd::lab::kernel {
namespace {

// Printed violations; further ones are only counted, so that a fault in a hot path does not fill
// the disk.
constexpr std::uint64_t printed_violations_max = 50;

struct Report {
    os::Mutex mutex;
    std::vector<Violation> violations;
    std::uint64_t count = 0;
    bool quiet = false;
};
Report& report() {
    static Report* const instance = new Report;
    return *instance;
}

struct Threads {
    os::Mutex mutex;
    std::vector<ThreadState*> all;
};
Threads& threads() {
    static Threads* const instance = new Threads;
    return *instance;
}

std::atomic<std::uintptr_t> image_start{0};
std::atomic<std::uintptr_t> image_end{0};
std::atomic<void (*)()> fatal_hook{nullptr};
Counters totals;

void record(const char* rule, const char* format, va_list arguments) {
    char detail[512];
    // Not msvcrt's, whose formats differ from the standard's.
    __mingw_vsnprintf(detail, sizeof detail, format, arguments);
    Report& target = report();
    const std::lock_guard guard(target.mutex);
    ++target.count;
    if (target.violations.size() < 1000) target.violations.push_back({rule, detail});
    if (target.quiet || target.count > printed_violations_max) return;
    char line[700];
    std::snprintf(line, sizeof line, "VERIFIER: %s: %s\n", rule, detail);
    os::print(line);
}

}  // namespace

void violation(const char* rule, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    record(rule, format, arguments);
    va_end(arguments);
}

void fatal_violation(const char* rule, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const auto hook = fatal_hook.load();
    if (hook == nullptr) set_violations_quiet(false);
    record(rule, format, arguments);
    va_end(arguments);
    if (hook != nullptr) hook();
    os::exit_process(3);
}

void set_fatal_hook(void (*hook)()) noexcept {
    fatal_hook.store(hook);
}

std::uint64_t violation_count() noexcept {
    const std::lock_guard guard(report().mutex);
    return report().count;
}

std::vector<Violation> take_violations() {
    const std::lock_guard guard(report().mutex);
    report().count = 0;
    return std::exchange(report().violations, {});
}

void set_violations_quiet(bool quiet) noexcept {
    const std::lock_guard guard(report().mutex);
    report().quiet = quiet;
}

ThreadState& this_thread() noexcept {
    if (void* const slot = os::thread_slot(); slot != nullptr)
        return *static_cast<ThreadState*>(slot);
    auto* const state = new ThreadState;
    state->thread_id = os::thread_id();
    state->process_id = os::process_id();
    os::set_thread_slot(state);
    const std::lock_guard guard(threads().mutex);
    threads().all.push_back(state);
    return *state;
}

void for_each_thread(void (*visit)(ThreadState& thread, void* context), void* context) {
    const std::lock_guard guard(threads().mutex);
    for (ThreadState* const thread : threads().all)
        visit(*thread, context);
}

void require_irql_at_most(unsigned char highest, const char* function) {
    const unsigned char irql = this_thread().irql;
    if (irql > highest)
        violation("irql", "%s called at IRQL %u, allowed up to %u", function, irql, highest);
}

CallbackGuard::~CallbackGuard() {
    const ThreadState& thread = this_thread();
    if (thread.irql != irql_)
        violation("irql", "%s entered at IRQL %u, left at %u", what_, irql_, thread.irql);
    if (thread.held_count != held_count_) {
        violation("lock-held", "%s entered with %u locks, left with %u", what_, held_count_,
                  thread.held_count);
    }
}

bool alert_process(std::uint64_t process_id, std::uint32_t timeout_ms) {
    struct Search {
        std::uint64_t process_id;
        unsigned waiting;
    } search{process_id, 0};
    for (std::uint32_t waited_ms = 0; waited_ms <= timeout_ms; ++waited_ms) {
        search.waiting = 0;
        for_each_thread(
            [](ThreadState& thread, void* context) {
                auto& wanted = *static_cast<Search*>(context);
                if (thread.process_id != wanted.process_id) return;
                thread.dying.store(true);
                volatile void* const address = thread.waiting_on.load();
                if (address == nullptr) return;
                // The waiter looks at `dying` only between two sleeps: wake it until it has left.
                os::wake_all(address);
                ++wanted.waiting;
            },
            &search);
        if (search.waiting == 0) return true;
        os::sleep_ms(1);
    }
    return false;
}

unsigned stuck_threads(std::uint64_t process_id) {
    struct Search {
        std::uint64_t process_id;
        unsigned stuck;
    } search{process_id, 0};
    for_each_thread(
        [](ThreadState& thread, void* context) {
            auto& wanted = *static_cast<Search*>(context);
            if (thread.process_id == wanted.process_id && thread.in_wait.load()) ++wanted.stuck;
        },
        &search);
    return search.stuck;
}

void set_driver_image(const void* base, std::size_t bytes) noexcept {
    const auto start = reinterpret_cast<std::uintptr_t>(base);
    image_start.store(start, std::memory_order_relaxed);
    image_end.store(start + bytes, std::memory_order_relaxed);
}

bool is_driver(const void* return_address) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(return_address);
    const std::uintptr_t end = image_end.load(std::memory_order_relaxed);
    return end == 0 || (address >= image_start.load(std::memory_order_relaxed) && address < end);
}

Counters& counters() noexcept {
    return totals;
}

void reset_counters() noexcept {
    for (std::atomic<std::uint64_t>* const counter :
         {&totals.calls, &totals.allocations, &totals.mdl_allocations, &totals.page_locks,
          &totals.pages_locked, &totals.mappings, &totals.spin_locks, &totals.waits, &totals.copies,
          &totals.bytes_copied}) {
        counter->store(0);
    }
}

namespace {

/// `mov reg, cr8` is 44/45 0F 20 /r, `mov cr8, reg` is 44/45 0F 22 /r; both have register 8 in the
/// reg field by REX.R.
bool emulate_irql_register(const os::Fault& fault) {
    const auto* const code = reinterpret_cast<const unsigned char*>(fault.instruction);
    if ((code[0] & 0xFE) != 0x44 || code[1] != 0x0F || (code[2] != 0x20 && code[2] != 0x22))
        return false;
    if ((code[3] & 0xF8) != 0xC0) return false;
    std::uint64_t& value = *fault.registers[(code[3] & 7) | ((code[0] & 1) << 3)];
    ThreadState& thread = this_thread();
    if (code[2] == 0x20) {
        value = thread.irql;
    } else {
        thread.irql = static_cast<unsigned char>(value);
    }
    *fault.rip += 4;
    return true;
}

bool on_fault(const os::Fault& fault) {
    constexpr std::uint32_t privileged_instruction = 0xC0000096;
    constexpr std::uint32_t access_violation = 0xC0000005;
    if (fault.code == privileged_instruction) return emulate_irql_register(fault);
    ThreadState& thread = this_thread();
    const bool answer_to_bad_pointer = std::exchange(thread.raising, false);
    if (fault.code == access_violation && !answer_to_bad_pointer)
        describe_pool_fault(fault.address, fault.write);
    return false;
}

}  // namespace

void check_balance() {
    check_pool_balance();
    check_mdl_balance();
    check_work_items();
    check_etw_balance();
}

void install_fault_reporter() {
    os::set_fault_handler(on_fault);
}

}  // namespace wnbd::lab::kernel
