// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/storport/timers.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

using Clock = std::chrono::steady_clock;

/// One thread that runs things at their time; it lives as long as the process.
class Scheduler {
  public:
    void set(const void* key, Clock::time_point when, std::function<void()> what) {
        const std::lock_guard lock(mutex_);
        remove_locked(key);
        queue_.emplace(when, Entry{key, std::move(what)});
        start_locked();
        changed_.notify_all();
    }

    void cancel(const void* key) {
        std::unique_lock lock(mutex_);
        remove_locked(key);
        idle_.wait(lock, [&] { return running_ != key; });
    }

  private:
    struct Entry {
        const void* key;
        std::function<void()> what;
    };

    void remove_locked(const void* key) {
        std::erase_if(queue_, [&](const auto& item) { return item.second.key == key; });
    }

    void start_locked() {
        if (started_) return;
        started_ = true;
        std::thread([this] { loop(); }).detach();
    }

    void loop() {
        std::unique_lock lock(mutex_);
        for (;;) {
            if (queue_.empty()) {
                changed_.wait(lock);
                continue;
            }
            const auto first = queue_.begin();
            if (first->first > Clock::now()) {
                changed_.wait_until(lock, first->first);
                continue;
            }
            Entry entry = std::move(first->second);
            queue_.erase(first);
            running_ = entry.key;
            lock.unlock();
            entry.what();
            lock.lock();
            running_ = nullptr;
            idle_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::condition_variable idle_;
    std::multimap<Clock::time_point, Entry> queue_;
    const void* running_ = nullptr;
    bool started_ = false;
};

Scheduler& scheduler() {
    static Scheduler* const the_scheduler = new Scheduler;
    return *the_scheduler;
}

struct Handles {
    std::mutex mutex;
    std::set<void*> timers;
    std::set<void*> workers;
};

Handles& handles() {
    static Handles* const the_handles = new Handles;
    return *the_handles;
}

ULONG make(std::set<void*> Handles::* kind, void** handle) {
    if (handle == nullptr) return STOR_STATUS_INVALID_PARAMETER;
    Handles& all = handles();
    const std::lock_guard lock(all.mutex);
    *handle = new char;
    (all.*kind).insert(*handle);
    return STOR_STATUS_SUCCESS;
}

bool known(std::set<void*> Handles::* kind, void* handle) {
    Handles& all = handles();
    const std::lock_guard lock(all.mutex);
    if ((all.*kind).contains(handle)) return true;
    report_violation("unknown timer or worker", "%p", handle);
    return false;
}

ULONG destroy(std::set<void*> Handles::* kind, void* handle) {
    if (!known(kind, handle)) return STOR_STATUS_INVALID_PARAMETER;
    scheduler().cancel(handle);
    Handles& all = handles();
    const std::lock_guard lock(all.mutex);
    (all.*kind).erase(handle);
    delete static_cast<char*>(handle);
    return STOR_STATUS_SUCCESS;
}

}  // namespace

void request_miniport_timer(void* extension, PHW_TIMER routine, ULONG microseconds) {
    if (microseconds == 0) return scheduler().cancel(extension);
    scheduler().set(extension, Clock::now() + std::chrono::microseconds(microseconds), [=] {
        const AtDispatch raised;
        routine(extension);
    });
}

ULONG initialize_timer(void** handle) {
    return make(&Handles::timers, handle);
}

ULONG request_timer(void* extension, void* handle, PHW_TIMER_EX routine, void* context,
                    ULONGLONG microseconds) {
    if (!known(&Handles::timers, handle)) return STOR_STATUS_INVALID_PARAMETER;
    if (microseconds == 0) {
        scheduler().cancel(handle);
        return STOR_STATUS_SUCCESS;
    }
    scheduler().set(handle, Clock::now() + std::chrono::microseconds(microseconds), [=] {
        const AtDispatch raised;
        routine(extension, context);
    });
    return STOR_STATUS_SUCCESS;
}

ULONG free_timer(void* handle) {
    return destroy(&Handles::timers, handle);
}

ULONG initialize_worker(void** handle) {
    return make(&Handles::workers, handle);
}

ULONG queue_worker(void* extension, PHW_WORKITEM routine, void* handle, void* context) {
    if (!known(&Handles::workers, handle)) return STOR_STATUS_INVALID_PARAMETER;
    scheduler().set(handle, Clock::now(), [=] { routine(extension, context, handle); });
    return STOR_STATUS_SUCCESS;
}

ULONG free_worker(void* handle) {
    return destroy(&Handles::workers, handle);
}

}  // namespace wnbd::lab
