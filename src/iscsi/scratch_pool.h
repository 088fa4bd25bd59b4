// SPDX-License-Identifier: LGPL-2.1-or-later
// Buffers for what is read to be compared or thrown away, and for blocks that are written over and
// over. Made at start; who finds none waits in line.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/intrusive_list.h"

namespace wnbd::iscsi {

/// Thread-safe.
class ScratchPool {
  public:
    static constexpr std::size_t buffer_size = 256U << 10;  // bytes, whole blocks of every size
    static constexpr std::size_t buffer_count = 8;

    /// Who borrows a buffer, one at a time. `scratch` is the pool's to set.
    struct Borrower : ListLink {
        std::uint8_t* scratch = nullptr;
    };

    /// Throws std::bad_alloc.
    ScratchPool();

    /// True: the borrower has a buffer. False: it is in line, and next_served() will give it.
    [[nodiscard]] bool borrow(Borrower& borrower) noexcept;
    /// Somebody has to ask next_served() afterwards.
    void give_back(Borrower& borrower) noexcept;
    /// One who was in line and has a buffer now; nullptr: there is none.
    [[nodiscard]] Borrower* next_served() noexcept;

    /// buffer_size zeroes, never written to.
    [[nodiscard]] std::uint8_t* zeroes() const noexcept { return memory_.get(); }

  private:
    std::unique_ptr<std::uint8_t[]> memory_;  // the zeroes, then the buffers
    std::atomic<std::uint32_t> waiting_count_{0};
    std::mutex lock_;  // of what follows
    std::uint8_t* free_[buffer_count];
    std::size_t free_count_ = 0;
    IntrusiveList<Borrower> waiting_;
};

}  // namespace wnbd::iscsi
