// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/scratch_pool.h"

#include <utility>

namespace wnbd::iscsi {

ScratchPool::ScratchPool()
    : memory_(std::make_unique<std::uint8_t[]>((buffer_count + 1) * buffer_size)) {
    while (free_count_ < buffer_count) {
        ++free_count_;
        free_[free_count_ - 1] = memory_.get() + free_count_ * buffer_size;
    }
}

bool ScratchPool::borrow(Borrower& borrower) noexcept {
    const std::lock_guard lock(lock_);
    // Those in line have waited longer.
    if (free_count_ > 0 && waiting_.empty()) {
        borrower.scratch = free_[--free_count_];
        return true;
    }
    waiting_.push_back(borrower);
    waiting_count_.fetch_add(1, std::memory_order_relaxed);
    return false;
}

void ScratchPool::give_back(Borrower& borrower) noexcept {
    const std::lock_guard lock(lock_);
    free_[free_count_++] = std::exchange(borrower.scratch, nullptr);
}

ScratchPool::Borrower* ScratchPool::next_served() noexcept {
    // Whoever gives a buffer back asks afterwards, and whoever finds none comes into line before
    // that under the same lock: a count that is read too early misses nobody for good.
    if (waiting_count_.load(std::memory_order_relaxed) == 0) return nullptr;
    const std::lock_guard lock(lock_);
    if (free_count_ == 0) return nullptr;
    Borrower* const first = waiting_.pop_front();
    if (first == nullptr) return nullptr;
    waiting_count_.fetch_sub(1, std::memory_order_relaxed);
    first->scratch = free_[--free_count_];
    return first;
}

}  // namespace wnbd::iscsi
