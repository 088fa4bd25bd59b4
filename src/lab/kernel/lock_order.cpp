// SPDX-License-Identifier: LGPL-2.1-or-later
// Lock order: a graph of "B was taken while A was held", kept per lock. An edge that closes a cycle
// is a deadlock that some day happens, whether or not it happened in this run.
#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lab/kernel/locks.h"
#include "lab/kernel/os.h"

namespace wnbd::lab::kernel {
namespace {

using Address = std::uintptr_t;

struct OrderGraph {
    os::Mutex mutex;
    std::unordered_map<Address, std::unordered_set<Address>> taken_after;
};
OrderGraph& graph() {
    static OrderGraph* const instance = new OrderGraph;
    return *instance;
}
// Raised whenever edges are forgotten, so that the threads' caches of known edges become void.
std::atomic<std::uint32_t> epoch{1};

bool reaches(const OrderGraph& in, Address from, Address wanted) {
    std::vector<Address> open{from};
    std::unordered_set<Address> seen;
    while (!open.empty()) {
        const Address current = open.back();
        open.pop_back();
        if (current == wanted) return true;
        if (!seen.insert(current).second) continue;
        const auto edges = in.taken_after.find(current);
        if (edges != in.taken_after.end())
            open.insert(open.end(), edges->second.begin(), edges->second.end());
    }
    return false;
}

void add_edge(ThreadState& thread, const void* held, const void* wanted, const char* function) {
    const auto before = reinterpret_cast<Address>(held);
    const auto after = reinterpret_cast<Address>(wanted);
    const std::uint32_t now = epoch.load(std::memory_order_acquire);
    if (thread.order_epoch != now) {
        std::fill(std::begin(thread.order_cache), std::end(thread.order_cache), 0);
        thread.order_epoch = now;
    }
    const std::uint64_t key = (before * 0x9E3779B97F4A7C15ULL) ^ after;
    std::uint64_t& cached = thread.order_cache[(key >> 32) % std::size(thread.order_cache)];
    if (cached == key) return;
    {
        OrderGraph& order = graph();
        const std::lock_guard guard(order.mutex);
        if (!order.taken_after[before].contains(after)) {
            if (reaches(order, after, before)) {
                violation("lock-order",
                          "%s takes %p while holding %p; elsewhere it was the other way round",
                          function, wanted, held);
            }
            order.taken_after[before].insert(after);
        }
    }
    cached = key;
}

}  // namespace

void before_acquire(const void* lock, LockKind kind, bool shared, const char* function) {
    ThreadState& thread = this_thread();
    for (unsigned index = 0; index < thread.held_count; ++index) {
        const HeldLock& held = thread.held[index];
        if (held.lock == lock) {
            if (shared && held.shared) {
                violation("lock-recursion", "%s takes %p shared for the second time", function,
                          lock);
                continue;
            }
            fatal_violation("lock-recursion", "%s waits for %p, which this thread holds", function,
                            lock);
        }
        if (kind != LockKind::spin && held.kind == LockKind::spin) {
            violation("lock-order", "%s waits for a mutex while a spin lock (%p) is held", function,
                      held.lock);
        }
        add_edge(thread, held.lock, lock, function);
    }
}

void after_acquire(const void* lock, LockKind kind, bool shared) {
    ThreadState& thread = this_thread();
    if (thread.held_count == ThreadState::max_held) {
        fatal_violation("lock-count", "more than %u locks held by one thread",
                        ThreadState::max_held);
    }
    thread.held[thread.held_count++] = {lock, kind, shared};
}

bool before_release(const void* lock, const char* function) {
    ThreadState& thread = this_thread();
    for (unsigned index = thread.held_count; index-- > 0;) {
        if (thread.held[index].lock != lock) continue;
        std::copy(thread.held + index + 1, thread.held + thread.held_count, thread.held + index);
        --thread.held_count;
        return true;
    }
    violation("lock-not-held", "%s of %p, which this thread does not hold", function, lock);
    return false;
}

bool holds_kind(const ThreadState& thread, LockKind kind) noexcept {
    return std::any_of(thread.held, thread.held + thread.held_count,
                       [kind](const HeldLock& held) { return held.kind == kind; });
}

void forget_locks(const void* start, std::size_t bytes) {
    const auto first = reinterpret_cast<Address>(start);
    const auto inside = [first, bytes](Address lock) {
        return lock >= first && lock - first < bytes;
    };
    const ThreadState& thread = this_thread();
    for (unsigned index = 0; index < thread.held_count; ++index) {
        if (inside(reinterpret_cast<Address>(thread.held[index].lock))) {
            violation("lock-freed", "memory of lock %p is freed while it is held",
                      thread.held[index].lock);
        }
    }
    OrderGraph& order = graph();
    const std::lock_guard guard(order.mutex);
    bool changed = std::erase_if(order.taken_after,
                                 [&](const auto& entry) { return inside(entry.first); }) != 0;
    for (auto& [lock, after] : order.taken_after)
        changed |= std::erase_if(after, inside) != 0;
    if (changed) epoch.fetch_add(1, std::memory_order_release);
}

}  // namespace wnbd::lab::kernel
