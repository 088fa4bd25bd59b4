// SPDX-License-Identifier: LGPL-2.1-or-later
// Storage that takes whole blocks only, under a backend that aligns. For tests.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "backend/aligning_backend.h"
#include "backend/checks.h"
#include "backend/fill_extents.h"

namespace wnbd::backend::test {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::uint64_t block_size = 4096;  // bytes: of most of the storage here

/// Storage in memory that takes whole blocks only. Completes in submit(), or, with threads, later
/// and in any order.
class Storage final : public Backend {
  public:
    Storage(std::uint64_t size, std::uint32_t block, unsigned threads = 0)
        : bytes(size), allocated(size / block, 0), block_(block) {
        properties_ = {.size = size,
                       .minimum_block = block,
                       .preferred_block = block,
                       .can_flush = true,
                       .can_fua = true,
                       .can_trim = true,
                       .trim_reads_zeroes = true,
                       .can_write_zeroes = true,
                       .can_tell_extents = true};
        for (unsigned i = 0; i < threads; ++i)
            threads_.emplace_back([this, i] { serve(i); });
    }
    ~Storage() override { Storage::close(); }

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    [[nodiscard]] std::uint64_t size() const noexcept override { return size_now.load(); }
    void observe(Observer* to) noexcept override { observer = to; }
    void submit(Request& request) noexcept override {
        if (threads_.empty()) return request.done(request, perform(request));
        {
            const std::lock_guard lock(lock_);
            if (!closed_) {
                queue_.push_back(&request);
                return changed_.notify_one();
            }
        }
        request.done(request, Error::shutting_down);
    }
    [[nodiscard]] Extent extent_at(std::uint64_t offset) const noexcept {
        const auto first = offset / block_;
        auto end = first + 1;
        while (end < allocated.size() && allocated[end] == allocated[first])
            ++end;
        return {.length = end * block_ - offset, .allocated = allocated[first] != 0};
    }
    void prefer(std::uint32_t block) noexcept { properties_.preferred_block = block; }
    void close() noexcept override {
        {
            const std::lock_guard lock(lock_);
            closed_ = true;
            changed_.notify_all();
        }
        for (auto& thread : threads_)
            thread.join();
        threads_.clear();
    }

    Bytes bytes;
    std::vector<std::uint8_t> allocated;
    std::atomic<std::uint64_t> size_now{bytes.size()};
    Observer* observer = nullptr;
    // What happened.
    std::atomic<unsigned> reads{0};
    std::atomic<unsigned> writes{0};
    std::atomic<unsigned> forced{0};
    std::atomic<unsigned> flushes{0};
    std::atomic<bool> silent{false};  // requests wait for close()
    Error read_error = Error::none;
    Error write_error = Error::none;

  private:
    Error perform(Request& request) {
        const auto error = check_request(request, properties_, size_now.load());
        if (error != Error::none) return error;
        std::fill_n(
            std::next(allocated.begin(), static_cast<std::ptrdiff_t>(request.offset / block_)),
            request.operation == Operation::write ? request.length / block_ : 0, 1);
        const auto at = std::next(bytes.begin(), static_cast<std::ptrdiff_t>(request.offset));
        if (request.force_unit_access) ++forced;
        switch (request.operation) {
            case Operation::read:
                ++reads;
                if (read_error != Error::none) return read_error;
                std::copy_n(at, request.length, request.buffer.begin());
                return Error::none;
            case Operation::write:
                ++writes;
                if (write_error != Error::none) return write_error;
                std::copy_n(request.buffer.begin(), request.length, at);
                return Error::none;
            case Operation::trim:
            case Operation::write_zeroes: std::fill_n(at, request.length, 0); return Error::none;
            case Operation::flush: ++flushes; return Error::none;
            case Operation::extents:
                return fill_extents(request, [this](auto offset) { return extent_at(offset); });
        }
        return Error::invalid;
    }

    void serve(unsigned seed) {
        std::minstd_rand random(seed + 1);
        std::unique_lock lock(lock_);
        for (;;) {
            changed_.wait(lock, [this] { return closed_ || (!queue_.empty() && !silent); });
            if (queue_.empty()) return;
            const auto at = random() % queue_.size();
            Request* const request = queue_[at];
            queue_.erase(std::next(queue_.begin(), static_cast<std::ptrdiff_t>(at)));
            lock.unlock();
            if (random() % 4 == 0) std::this_thread::yield();
            request->done(*request, silent ? Error::shutting_down : perform(*request));
            lock.lock();
        }
    }

    const std::uint32_t block_;
    Properties properties_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Request*> queue_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

struct Disk {
    explicit Disk(std::uint64_t size, std::uint32_t large, std::uint32_t small,
                  unsigned threads = 0) {
        auto made = std::make_unique<Storage>(size, large, threads);
        storage = made.get();
        disk = aligned_to(std::move(made), small);
    }
    Storage* storage;
    std::unique_ptr<Backend> disk;
};

}  // namespace wnbd::backend::test
