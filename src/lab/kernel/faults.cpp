// SPDX-License-Identifier: LGPL-2.1-or-later
// Fault injection: which of the driver's calls are to fail.
#include <mutex>

#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"

namespace wnbd::lab::kernel {
namespace {

struct Injector {
    os::Mutex mutex;
    FaultPlan plan;
    std::uint64_t random = 1;
    std::uint64_t pool_calls = 0;
    std::uint64_t mdl_calls = 0;
};
Injector injector;
std::atomic<bool> active{false};

double next_random() noexcept {
    // xorshift64*: small, and one seed gives one sequence of decisions per order of calls.
    std::uint64_t& state = injector.random;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<double>((state * 0x2545F4914F6CDD1DULL) >> 11) / 9007199254740992.0;
}

}  // namespace

void set_fault_plan(const FaultPlan& plan) noexcept {
    const std::lock_guard guard(injector.mutex);
    injector.plan = plan;
    injector.random = plan.seed * 2 + 1;
    injector.pool_calls = injector.mdl_calls = 0;
    active.store(plan.pool_probability > 0 || plan.mdl_probability > 0 ||
                 plan.lock_probability > 0 || plan.pool_fail_at != 0 || plan.mdl_fail_at != 0);
}

bool should_fail(FaultPoint point) noexcept {
    if (!active.load(std::memory_order_relaxed)) return false;
    const std::lock_guard guard(injector.mutex);
    const FaultPlan& plan = injector.plan;
    switch (point) {
        case FaultPoint::pool:
            if (++injector.pool_calls == plan.pool_fail_at) return true;
            return plan.pool_probability > 0 && next_random() < plan.pool_probability;
        case FaultPoint::mdl:
            if (++injector.mdl_calls == plan.mdl_fail_at) return true;
            return plan.mdl_probability > 0 && next_random() < plan.mdl_probability;
        case FaultPoint::mapping:
            return plan.mdl_probability > 0 && next_random() < plan.mdl_probability;
        case FaultPoint::lock:
            return plan.lock_probability > 0 && next_random() < plan.lock_probability;
    }
    return false;
}

}  // namespace wnbd::lab::kernel
