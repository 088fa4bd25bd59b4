// SPDX-License-Identifier: LGPL-2.1-or-later
// System worker threads and the work items that run on them.
#include <deque>
#include <mutex>
#include <unordered_set>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"

namespace wnbd::lab::kernel {
namespace {

constexpr unsigned worker_threads = 3;

struct Job {
    void (*routine)(void* context);
    void* context;
};

struct Workers {
    os::Mutex mutex;
    std::deque<Job> jobs;
    unsigned running = 0;
    bool started = false;
    std::atomic<std::uint32_t> posted{0};  ///< what idle workers sleep on
};
Workers& workers() {
    static Workers* const instance = new Workers;
    return *instance;
}

void worker_main(void*) {
    Workers& all = workers();
    for (;;) {
        const std::uint32_t seen = all.posted.load();
        Job job{};
        {
            const std::lock_guard guard(all.mutex);
            if (!all.jobs.empty()) {
                job = all.jobs.front();
                all.jobs.pop_front();
                ++all.running;
            }
        }
        if (job.routine == nullptr) {
            os::wait_on(&all.posted, seen, -1);
            continue;
        }
        {
            const CallbackGuard guard("a work item's routine");
            job.routine(job.context);
        }
        const std::lock_guard guard(all.mutex);
        --all.running;
    }
}

}  // namespace

bool queue_worker(void (*routine)(void* context), void* context) {
    Workers& all = workers();
    {
        const std::lock_guard guard(all.mutex);
        if (!all.started) {
            for (unsigned index = 0; index < worker_threads; ++index) {
                if (!os::start_thread(worker_main, nullptr)) return false;
            }
            all.started = true;
        }
        all.jobs.push_back({routine, context});
    }
    all.posted.fetch_add(1);
    os::wake_one(&all.posted);
    return true;
}

bool drain_workers(std::uint32_t timeout_ms) {
    Workers& all = workers();
    for (std::uint32_t waited_ms = 0; waited_ms <= timeout_ms; ++waited_ms) {
        {
            const std::lock_guard guard(all.mutex);
            if (all.jobs.empty() && all.running == 0) return true;
        }
        os::sleep_ms(1);
    }
    return false;
}

namespace {

struct WorkItem {
    PDEVICE_OBJECT device;
    PIO_WORKITEM_ROUTINE routine = nullptr;
    void* context = nullptr;
    bool owner_is_driver = false;
    bool queued = false;
};

struct Items {
    os::Mutex mutex;
    std::unordered_set<WorkItem*> live;
};
Items& items() {
    static Items* const instance = new Items;
    return *instance;
}

WorkItem* checked(PIO_WORKITEM opaque, const char* function) {
    auto* const item = reinterpret_cast<WorkItem*>(opaque);
    if (items().live.contains(item)) return item;
    fatal_violation("bad-work-item", "%s of %p, which is no live work item", function,
                    static_cast<void*>(item));
}

void run_item(void* context) {
    auto* const item = static_cast<WorkItem*>(context);
    PIO_WORKITEM_ROUTINE routine;
    PDEVICE_OBJECT device;
    void* argument;
    {
        // The routine may free its item, as the documentation allows: nothing of it is used
        // afterwards.
        const std::lock_guard guard(items().mutex);
        item->queued = false;
        routine = item->routine;
        device = item->device;
        argument = item->context;
    }
    routine(device, argument);
}

}  // namespace

void check_work_items() {
    const std::lock_guard guard(items().mutex);
    for (WorkItem* const item : items().live) {
        if (!item->owner_is_driver) continue;
        violation("work-item-leak", "work item %p was not freed%s", static_cast<void*>(item),
                  item->queued ? " and is still queued" : "");
        item->owner_is_driver = false;  // reported once
    }
}

}  // namespace wnbd::lab::kernel

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

extern "C" {

PIO_WORKITEM NTAPI lab_IoAllocateWorkItem(PDEVICE_OBJECT device) {
    require_irql_at_most(DISPATCH_LEVEL, "IoAllocateWorkItem");
    const bool by_driver = is_driver(__builtin_return_address(0));
    if (by_driver && should_fail(FaultPoint::pool)) return nullptr;
    auto* const item = new WorkItem{.device = device, .owner_is_driver = by_driver};
    const std::lock_guard guard(items().mutex);
    items().live.insert(item);
    return reinterpret_cast<PIO_WORKITEM>(item);
}

VOID NTAPI lab_IoFreeWorkItem(PIO_WORKITEM opaque) {
    require_irql_at_most(DISPATCH_LEVEL, "IoFreeWorkItem");
    WorkItem* item;
    {
        const std::lock_guard guard(items().mutex);
        item = checked(opaque, "IoFreeWorkItem");
        if (item->queued) {
            fatal_violation("work-item-queued", "IoFreeWorkItem of %p, which is queued",
                            static_cast<void*>(item));
        }
        items().live.erase(item);
    }
    delete item;
}

VOID NTAPI lab_IoQueueWorkItem(PIO_WORKITEM opaque, PIO_WORKITEM_ROUTINE routine, WORK_QUEUE_TYPE,
                               PVOID context) {
    require_irql_at_most(DISPATCH_LEVEL, "IoQueueWorkItem");
    WorkItem* item;
    {
        const std::lock_guard guard(items().mutex);
        item = checked(opaque, "IoQueueWorkItem");
        if (item->queued) {
            violation("work-item-queued", "IoQueueWorkItem of %p, which is queued",
                      static_cast<void*>(item));
            return;
        }
        item->routine = routine;
        item->context = context;
        item->queued = true;
    }
    if (!queue_worker(run_item, item)) fatal_violation("worker", "no worker thread can be started");
}

}  // extern "C"
