// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/aligning_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/checks.h"

namespace wnbd::backend {
namespace {

std::uint64_t down(std::uint64_t value, std::uint64_t unit) noexcept {
    return value / unit * unit;
}
std::uint64_t up(std::uint64_t value, std::uint64_t unit) noexcept {
    return down(value + unit - 1, unit);
}

Properties properties_of(const Properties& storage, std::uint32_t block) noexcept {
    Properties properties = storage;
    properties.size = down(storage.size, storage.minimum_block);
    properties.minimum_block = block;
    properties.preferred_block = std::max(storage.preferred_block, storage.minimum_block);
    // The edges of a trim keep what they have.
    properties.trim_reads_zeroes = false;
    return properties;
}

bool is_change(Operation operation) noexcept {
    return operation == Operation::write || operation == Operation::trim ||
           operation == Operation::write_zeroes;
}

/// The next request in the line.
Request*& next_of(Request& request) noexcept {
    return *static_cast<Request**>(request.storage.data());
}

}  // namespace

std::unique_ptr<Backend> aligned_to(std::unique_ptr<Backend> storage, std::uint32_t block) {
    if (storage->properties().minimum_block <= block) return storage;
    return std::make_unique<AligningBackend>(std::move(storage), block);
}

AligningBackend::AligningBackend(std::unique_ptr<Backend> storage, std::uint32_t block)
    : storage_(std::move(storage)),
      large_(storage_->properties().minimum_block),
      properties_(properties_of(storage_->properties(), block)),
      bounce_(std::size_t{2} * job_count * large_),
      jobs_(job_count) {
    std::uint8_t* bounce = bounce_.data();
    for (Job& job : jobs_) {
        job.owner = this;
        for (Edge& edge : job.edges)
            edge.bounce = std::exchange(bounce, bounce + large_);
        job.next = std::exchange(free_, &job);
    }
}

AligningBackend::~AligningBackend() {
    AligningBackend::close();
}

void AligningBackend::Batch::add(Request& request) noexcept {
    requests_[count_++] = &request;
    if (count_ == requests_.size()) send();
}

void AligningBackend::Batch::send() noexcept {
    const auto count = std::exchange(count_, 0);
    if (count > 0) storage_.submit_many(std::span(requests_).first(count));
}

void AligningBackend::submit(Request& request) noexcept {
    Batch batch(*storage_);
    accept(request, batch);
    batch.send();
}

void AligningBackend::submit_many(std::span<Request* const> requests) noexcept {
    Batch batch(*storage_);
    for (Request* const request : requests)
        accept(*request, batch);
    batch.send();
}

std::uint64_t AligningBackend::size() const noexcept {
    return down(storage_->size(), large_);
}

void AligningBackend::observe(Observer* observer) noexcept {
    storage_->observe(nullptr);
    observer_ = observer;
    if (observer != nullptr) storage_->observe(this);
}

void AligningBackend::told(Weight weight, const std::string& line) noexcept {
    observer_->told(weight, line);
}

void AligningBackend::resized(std::uint64_t size) noexcept {
    observer_->resized(down(size, large_));
}

bool AligningBackend::passes(const Request& request) const noexcept {
    return request.operation == Operation::flush ||
           (!is_change(request.operation) && request.offset % large_ == 0 &&
            request.length % large_ == 0);
}

AligningBackend::Blocks AligningBackend::inner_blocks(const Request& request) const noexcept {
    const auto begin = up(request.offset, large_);
    const auto end = down(request.offset + request.length, large_);
    return {begin, end > begin ? end - begin : 0};
}

void AligningBackend::accept(Request& request, Batch& batch) noexcept {
    const auto error = check_request(request, properties_, size());
    const bool nothing_to_do = request.operation != Operation::flush &&
                               (request.length == 0 || (request.operation == Operation::trim &&
                                                        inner_blocks(request).length == 0));
    if (error != Error::none || nothing_to_do) return request.done(request, error);
    if (passes(request)) return batch.add(request);
    Job* job = nullptr;
    bool closing = false;
    {
        const std::lock_guard lock(lock_);
        closing = closing_;
        if (!closing) ++accepted_;
        // Nobody overtakes those who wait, nor gets between a refusal and its place in the line: a
        // long range that was refused keeps everybody out who would stand before it.
        if (!closing && waiting_first_ == nullptr) job = take_job(request);
        if (!closing && job == nullptr) wait_in_line(request);
    }
    if (closing) return request.done(request, Error::shutting_down);
    // What was missing may have come free before anybody could see us wait.
    if (job == nullptr) return go_through_line();
    begin(*job, batch);
}

/// A job, and for a change its blocks, or nothing of the two. Under lock_.
AligningBackend::Job* AligningBackend::take_job(Request& request) noexcept {
    if (free_ == nullptr) return nullptr;
    Job& job = *free_;
    job.request = &request;
    measure(job);
    if (job.guarded.length > 0 && !guard_.enter(job.guarded.offset, job.guarded.length))
        return nullptr;
    free_ = job.next;
    return &job;
}

/// Where the request's parts are.
void AligningBackend::measure(Job& job) const noexcept {
    const Request& request = *job.request;
    const auto end = request.offset + request.length;
    const auto begin = down(request.offset, large_);
    const bool trims = request.operation == Operation::trim;
    auto& [head, tail] = job.edges;
    head.length = tail.length = 0;
    job.middle = inner_blocks(request);
    job.guarded = {};
    if (request.operation == Operation::extents) job.middle = {begin, up(end, large_) - begin};
    if (is_change(request.operation))
        job.guarded = trims ? job.middle : Blocks{begin, up(end, large_) - begin};
    if (trims || request.operation == Operation::extents) return;
    const auto within = static_cast<std::uint32_t>(request.offset % large_);
    const auto beyond = static_cast<std::uint32_t>(end % large_);
    if (within != 0) {
        head.block = begin;
        head.from = within;
        head.length =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(large_ - within, request.length));
        head.at = 0;
    }
    if (beyond != 0 && (within == 0 || end - beyond != begin)) {
        tail.block = end - beyond;
        tail.from = 0;
        tail.length = beyond;
        tail.at = request.length - beyond;
    }
}

/// Under lock_.
void AligningBackend::wait_in_line(Request& request) noexcept {
    next_of(request) = nullptr;
    ++waiting_count_;
    if (waiting_last_ == nullptr)
        waiting_first_ = &request;
    else
        next_of(*waiting_last_) = &request;
    waiting_last_ = &request;
}

/// One thread at a time, in a loop: so storage that completes within submit() makes no deep stack.
void AligningBackend::go_through_line() noexcept {
    std::unique_lock lock(lock_);
    once_more_ = true;
    if (going_through_) return;
    going_through_ = true;
    while (std::exchange(once_more_, false)) {
        Batch batch(*storage_);
        while (waiting_first_ != nullptr) {
            Request* const second = next_of(*waiting_first_);
            Job* const job = take_job(*waiting_first_);
            if (job == nullptr) break;
            waiting_first_ = second;
            if (second == nullptr) waiting_last_ = nullptr;
            --waiting_count_;
            lock.unlock();
            begin(*job, batch);
            lock.lock();
        }
        lock.unlock();
        batch.send();
        lock.lock();
    }
    going_through_ = false;
}

void AligningBackend::begin(Job& job, Batch& batch) noexcept {
    const bool reads = !is_change(job.request->operation);
    const bool has_head = job.edges[0].length > 0;
    const bool has_tail = job.edges[1].length > 0;
    job.error.store(Error::none, std::memory_order_relaxed);
    job.writing = false;
    if (!reads && !has_head && !has_tail) return begin_writing(job, batch);
    const bool has_middle = reads && job.middle.length > 0;
    // Counted before the first is added: a full batch is sent at once, and its parts may be over
    // then. With the last one the job may be over, and another's.
    job.parts_left.store((has_head ? 1U : 0U) + (has_tail ? 1U : 0U) + (has_middle ? 1U : 0U));
    if (has_head) add_edge(job, 0, Operation::read, batch);
    if (has_middle) add_middle(job, batch);
    if (has_tail) add_edge(job, 1, Operation::read, batch);
}

void AligningBackend::begin_writing(Job& job, Batch& batch) noexcept {
    const Request& request = *job.request;
    const bool zeroes = request.operation == Operation::write_zeroes;
    for (const Edge& edge : job.edges) {
        if (edge.length == 0) continue;
        if (zeroes)
            std::memset(edge.bounce + edge.from, 0, edge.length);
        else
            std::memcpy(edge.bounce + edge.from, request.buffer.data() + edge.at, edge.length);
    }
    const bool has_head = job.edges[0].length > 0;
    const bool has_tail = job.edges[1].length > 0;
    const bool has_middle = job.middle.length > 0;
    job.writing = true;
    job.parts_left.store((has_head ? 1U : 0U) + (has_tail ? 1U : 0U) + (has_middle ? 1U : 0U));
    if (has_head) add_edge(job, 0, Operation::write, batch);
    if (has_middle) add_middle(job, batch);
    if (has_tail) add_edge(job, 1, Operation::write, batch);
}

void AligningBackend::add_edge(Job& job, unsigned index, Operation operation,
                               Batch& batch) noexcept {
    const Edge& edge = job.edges[index];
    const std::uint32_t size = job.owner->large_;
    Request& part = job.parts[index];
    part = {};
    part.operation = operation;
    part.force_unit_access = operation == Operation::write && job.request->force_unit_access;
    part.offset = edge.block;
    part.length = size;
    part.buffer = {edge.bounce, size};
    part.done = &AligningBackend::part_done;
    part.context = &job;
    batch.add(part);
}

void AligningBackend::add_middle(Job& job, Batch& batch) noexcept {
    const Request& request = *job.request;
    Request& part = job.parts[2];
    part = {};
    part.operation = request.operation;
    part.force_unit_access = request.force_unit_access;
    part.may_punch_hole = request.may_punch_hole;
    part.offset = job.middle.offset;
    part.length = job.middle.length;
    part.extents = request.extents;
    if (!request.buffer.empty())
        part.buffer =
            request.buffer.subspan(static_cast<std::size_t>(job.middle.offset - request.offset),
                                   static_cast<std::size_t>(job.middle.length));
    part.done = &AligningBackend::part_done;
    part.context = &job;
    batch.add(part);
}

void AligningBackend::part_done(Request& part, Error error) noexcept {
    Job& job = *static_cast<Job*>(part.context);
    if (error != Error::none) {
        auto first = Error::none;
        job.error.compare_exchange_strong(first, error);
    }
    if (job.parts_left.fetch_sub(1) != 1) return;
    AligningBackend& owner = *job.owner;
    const bool over =
        job.writing || !is_change(job.request->operation) || job.error.load() != Error::none;
    if (over) return owner.finish(job);
    Batch batch(*owner.storage_);
    begin_writing(job, batch);
    batch.send();
}

void AligningBackend::copy_edges(const Job& job) noexcept {
    for (const Edge& edge : job.edges)
        if (edge.length > 0)
            std::memcpy(job.request->buffer.data() + edge.at, edge.bounce + edge.from, edge.length);
}

/// What the storage said of whole blocks becomes what was asked.
void AligningBackend::cut_extents(const Job& job) noexcept {
    Request& request = *job.request;
    auto before = request.offset - job.middle.offset;
    auto left = request.length;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < job.parts[2].extent_count && left > 0; ++i) {
        Extent run = request.extents[i];
        const auto skipped = std::min(before, run.length);
        before -= skipped;
        run.length = std::min(run.length - skipped, left);
        left -= run.length;
        if (run.length > 0) request.extents[kept++] = run;
    }
    // Storage that tells less than one block tells nothing.
    if (kept == 0) request.extents[kept++] = {.length = left};
    request.extent_count = kept;
}

void AligningBackend::finish(Job& job) noexcept {
    Request& request = *job.request;
    const Error error = job.error.load();
    if (request.operation == Operation::read && error == Error::none) copy_edges(job);
    if (request.operation == Operation::extents && error == Error::none) cut_extents(job);
    {
        const std::lock_guard lock(lock_);
        if (job.guarded.length > 0) guard_.leave(job.guarded.offset, job.guarded.length);
        job.next = std::exchange(free_, &job);
    }
    request.done(request, error);
    if (waiting_count_.load() != 0) go_through_line();
    // The last of all: close() may be waiting to take everything down.
    const std::lock_guard lock(lock_);
    if (--accepted_ == 0) idle_.notify_all();
}

void AligningBackend::close() noexcept {
    const auto over = [this] { return accepted_ == 0; };
    {
        std::unique_lock lock(lock_);
        closing_ = true;
        auto left = accepted_ + 1;
        const auto rounds_max = close_time_max / standstill_time_max;
        for (auto round = 0; round < rounds_max && accepted_ < left; ++round) {
            left = accepted_;
            if (idle_.wait_for(lock, standstill_time_max, over)) break;
        }
    }
    // Ends what is left, with an error.
    storage_->close();
    std::unique_lock lock(lock_);
    idle_.wait(lock, over);
}

}  // namespace wnbd::backend
