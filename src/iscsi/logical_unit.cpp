// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/logical_unit.h"

#include <algorithm>
#include <utility>

namespace wnbd::iscsi {
namespace {

/// Nothing is stale here: the backend is in this process, and says by itself when it is gone.
constexpr engine::StaleRule never_stale{.request_timeout_ms = UINT64_MAX / 20000,
                                        .connection_timeout_ms = UINT64_MAX / 20000};

constexpr scsi::Answer task_set_full{scsi::Status::task_set_full, scsi::Sense{}, 0};

/// A PREEMPT AND ABORT that has been carried out.
bool aborts_others(const Task& task) noexcept {
    constexpr std::uint8_t persistent_reserve_out = 0x5F;
    constexpr std::uint8_t preempt_and_abort = 0x05;
    return task.cdb[0] == persistent_reserve_out && (task.cdb[1] & 0x1F) == preempt_and_abort &&
           task.answer.status == scsi::Status::good;
}

}  // namespace

LogicalUnit::LogicalUnit(std::unique_ptr<backend::Backend> backend, const scsi::NexusNames& names)
    : backend_(std::move(backend)),
      names_(names),
      jobs_(std::make_unique<UnitJob[]>(task_count_max)) {
    for (std::uint32_t slot = 0; slot < task_count_max; ++slot)
        jobs_[slot].set_up(*this, disk_.description(), *backend_, scratch_.zeroes());
    disk_.initialize(*this);
}

Result<std::unique_ptr<LogicalUnit>, std::string> LogicalUnit::create(
    std::unique_ptr<backend::Backend> backend, const UnitSettings& settings,
    const scsi::NexusNames& names) {
    backend::Properties properties = backend->properties();
    properties.size = backend->size();
    const auto description = describe_unit(properties, settings);
    if (!description) return Failure{"cannot serve the disk with " + description.error()};
    std::unique_ptr<LogicalUnit> unit(new LogicalUnit(std::move(backend), names));
    const auto& [disk, block_count] = description.value();
    if (!unit->disk_.prepare(1, disk, block_count, task_count_max))
        return Failure{std::string("there is no memory for the disk's table of commands")};
    unit->disk_.go_online();
    return unit;
}

LogicalUnit::~LogicalUnit() {
    close();
    // Its observer may know us.
    backend_->observe(nullptr);
}

void LogicalUnit::close() noexcept {
    if (std::exchange(closed_, true)) return;
    if (disk_.begin_removal()) {
        disk_.await_idle();
        disk_.finish_removal();
    }
    backend_->close();
}

void LogicalUnit::resize(std::uint64_t bytes) noexcept {
    const std::uint64_t block_count = bytes / disk_.description().block_size;
    if (block_count != disk_.block_count()) disk_.resize(block_count);
}

LogicalUnit::Start LogicalUnit::start(Task& task) noexcept {
    const scsi::Command command{
        .cdb = std::span(task.cdb).first(task.cdb_length),
        .data = task.data,
        .data_length = std::max<std::size_t>(task.data.size(), task.offered),
        .nexus = task.nexus,
        .may_fall_short = true};
    task.cause = engine::Cause::answered;
    switch (disk_.start(&task, command, task.answer)) {
        case engine::Disk::Start::pending: return Start::pending;
        case engine::Disk::Start::answered:
            return aborts_others(task) ? await_aborted(task) : Start::answered;
        case engine::Disk::Start::full: task.answer = task_set_full; return Start::answered;
        case engine::Disk::Start::no_device: break;
    }
    task.answer =
        scsi::refuse(scsi::SenseKey::not_ready, scsi::AdditionalSense::logical_unit_not_ready);
    return Start::answered;
}

/// SPC-4, PREEMPT AND ABORT: what it aborts has ended when the answer comes. The backend may still
/// have a write of a preempted initiator's in its hands, which would land behind the back of
/// whoever has been told that nothing does any more.
LogicalUnit::Start LogicalUnit::await_aborted(Task& task) noexcept {
    task.aborted.srb = &task.aborted;
    task.aborted.context = &task;
    task.aborted.done = [](Drain& drain) noexcept {
        auto& over = *static_cast<Task*>(drain.context);
        over.owner->completed(over);
    };
    // Its own is no request: nothing more is ended, only waited for.
    const auto result = disk_.abort(&task, never_stale, task.aborted);
    return result.finished ? Start::answered : Start::pending;
}

/// The next step to be served, with all it needs.
UnitJob* LogicalUnit::next_job() noexcept {
    if (auto* const served = scratch_.next_served()) return static_cast<UnitJob*>(served);
    for (;;) {
        engine::Request* const request = disk_.take_now();
        if (request == nullptr) return nullptr;
        UnitJob& job = jobs_[request->slot];
        job.begin(*request, disk_.data(*request));
        if (!job.needs_scratch() || scratch_.borrow(job)) return &job;
    }
}

/// Whatever the backend does not complete within submit() ends by job_over().
void LogicalUnit::serve() noexcept {
    UnitJob* jobs[batch_max];
    backend::Request* pieces[batch_max];
    for (;;) {
        std::size_t count = 0;
        while (count < batch_max) {
            UnitJob* const job = next_job();
            if (job == nullptr) break;
            pieces[count] = job->first(*backend_);
            if (pieces[count] == nullptr)
                end_step(*job);
            else
                jobs[count++] = job;
        }
        if (count == 0) return;
        if (count == 1)
            backend_->submit(*pieces[0]);
        else
            backend_->submit_many(std::span(pieces).first(count));
        for (std::size_t i = 0; i < count; ++i) {
            if (jobs[i]->submitted()) end_step(*jobs[i]);
        }
    }
}

void LogicalUnit::end_step(UnitJob& job) noexcept {
    if (job.scratch != nullptr) scratch_.give_back(job);
    const scsi::Answer answer = job.answer();
    disk_.finish_step(job.request(), answer);
}

/// A reference, because the last task's end lets the unit be closed while this thread still looks
/// for more.
void LogicalUnit::job_over(UnitJob& job) noexcept {
    const bool open = disk_.acquire();
    end_step(job);
    if (!open) return;
    serve();
    disk_.release();
}

void LogicalUnit::abort(Task& task, Drain& drain) noexcept {
    drain.srb = &drain;
    drained(disk_.abort(&task, never_stale, drain), drain);
}

void LogicalUnit::abort_nexus(scsi::Nexus nexus, Drain& drain) noexcept {
    drain.srb = &drain;
    drained(disk_.abort_nexus(nexus, never_stale, drain), drain);
}

void LogicalUnit::clear(scsi::Nexus by, Drain& drain) noexcept {
    drain.srb = &drain;
    drained(disk_.clear(by, never_stale, drain), drain);
}

void LogicalUnit::reset(Drain& drain) noexcept {
    drain.srb = &drain;
    disk_.tell_of_reset();
    drained(disk_.drain(engine::Cause::aborted, never_stale, drain), drain);
}

/// Those that were ended may have kept others from running.
void LogicalUnit::drained(const engine::Disk::Drain& result, Drain& drain) noexcept {
    if (result.finished) drain.done(drain);
    serve();
}

void LogicalUnit::complete(void* srb, engine::Cause cause, const scsi::Answer& answer) noexcept {
    auto& task = *static_cast<Task*>(srb);
    task.cause = cause;
    task.answer = answer;
    task.owner->completed(task);
}

std::span<std::uint8_t> LogicalUnit::data(void* srb) noexcept {
    return static_cast<Task*>(srb)->data;
}

void LogicalUnit::reset_done(void* reset_srb) noexcept {
    auto& drain = *static_cast<Drain*>(reset_srb);
    drain.done(drain);
}

void LogicalUnit::write_transport_id(scsi::Nexus nexus, ByteWriter& out) const noexcept {
    names_.write_transport_id(nexus, out);
}

}  // namespace wnbd::iscsi
