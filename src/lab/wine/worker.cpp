// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/wine/worker.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "lab/storport/host.h"

namespace wnbd::lab::wine {
namespace {

struct Job {
    PIRP irp = nullptr;
    bool alertable = false;
    NTSTATUS (*work)(void*, PIRP) = nullptr;
    void* context = nullptr;
    HANDLE process_id = nullptr;
    PFILE_OBJECT file =
        nullptr;   // referenced: Wine frees it as soon as it has dispatched the CLOSE
    KEVENT alert;  // set once the IRP is cancelled or its process is gone
};

struct Pool {
    std::mutex mutex;
    std::condition_variable ready;
    std::condition_variable done;  // a job has left `jobs`
    std::deque<std::shared_ptr<Job>> queue;
    std::map<PIRP, std::shared_ptr<Job>> jobs;  // from dispatch to completion
    std::size_t idle = 0;
};

Pool& pool() {
    static Pool* const the_pool = new Pool;
    return *the_pool;
}

thread_local Job* current = nullptr;

void worker_loop() {
    Pool& all = pool();
    std::unique_lock lock(all.mutex);
    for (;;) {
        ++all.idle;
        all.ready.wait(lock, [&] { return !all.queue.empty(); });
        --all.idle;
        const std::shared_ptr<Job> job = std::move(all.queue.front());
        all.queue.pop_front();
        lock.unlock();
        current = job.get();
        job->work(job->context, job->irp);
        current = nullptr;
        if (job->file != nullptr) ObDereferenceObject(job->file);
        lock.lock();
    }
}

/// Only marks that an IRP can be cancelled: cancel_irp() takes it away instead of calling it.
void NTAPI cancellable(PDEVICE_OBJECT, PIRP irp) {
    IoReleaseCancelSpinLock(irp->CancelIrql);
}

}  // namespace

NTSTATUS run_blocking(PIRP irp, bool alertable, NTSTATUS (*work)(void*, PIRP), void* context) {
    auto job = std::make_shared<Job>();
    job->irp = irp;
    job->alertable = alertable;
    job->work = work;
    job->context = context;
    job->process_id = PsGetCurrentProcessId();
    job->file = IoGetCurrentIrpStackLocation(irp)->FileObject;
    if (job->file != nullptr) ObReferenceObject(job->file);
    KeInitializeEvent(&job->alert, NotificationEvent, FALSE);
    IoMarkIrpPending(irp);
    Pool& all = pool();
    {
        const std::lock_guard lock(all.mutex);
        all.jobs[irp] = job;
    }
    if (alertable) {
        IoSetCancelRoutine(irp, cancellable);
        if (irp->Cancel) KeSetEvent(&job->alert, IO_NO_INCREMENT, FALSE);
    }
    const std::lock_guard lock(all.mutex);
    all.queue.push_back(std::move(job));
    if (all.idle < all.queue.size()) std::thread(worker_loop).detach();
    all.ready.notify_one();
    return STATUS_PENDING;
}

HANDLE requestor_process_id() {
    return current != nullptr ? current->process_id : PsGetCurrentProcessId();
}

PKEVENT alert_event() {
    return current != nullptr && current->alertable ? &current->alert : nullptr;
}

std::uint32_t requestor_of(PIRP irp) {
    Pool& all = pool();
    const std::lock_guard lock(all.mutex);
    const auto found = all.jobs.find(irp);
    if (found == all.jobs.end()) return 0;
    return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(found->second->process_id));
}

void forget_irp(PIRP irp) {
    Pool& all = pool();
    const std::lock_guard lock(all.mutex);
    const auto found = all.jobs.find(irp);
    if (found == all.jobs.end()) return;
    if (found->second->alertable) IoSetCancelRoutine(irp, nullptr);
    all.jobs.erase(found);
    all.done.notify_all();
}

bool cancel_irp(PIRP irp) {
    Pool& all = pool();
    // Who completes an IRP forgets it first, under this lock: while it is in the list it is there.
    const std::lock_guard lock(all.mutex);
    const auto found = all.jobs.find(irp);
    if (found == all.jobs.end()) return false;
    irp->Cancel = TRUE;
    if (IoSetCancelRoutine(irp, nullptr) == nullptr) return false;
    KeSetEvent(&found->second->alert, IO_NO_INCREMENT, FALSE);
    return true;
}

void await_calls(PIRP close) {
    PFILE_OBJECT const file = IoGetCurrentIrpStackLocation(close)->FileObject;
    Pool& all = pool();
    std::unique_lock lock(all.mutex);
    all.done.wait(lock, [&] {
        return std::none_of(all.jobs.begin(), all.jobs.end(), [&](const auto& each) {
            return each.second->file == file && each.first != close;
        });
    });
}

}  // namespace wnbd::lab::wine
