// SPDX-License-Identifier: LGPL-2.1-or-later
// The library's counters of one disk. They add up at any moment one looks:
//   received = submitted + unsubmitted + invalid, submitted = replies + pending_submitted
#pragma once

#include <cstdint>
#include <mutex>

#include "libwnbd/abi.h"

namespace wnbd::libwnbd {

struct CounterValues {
    std::uint64_t received = 0;
    std::uint64_t submitted = 0;
    std::uint64_t replies = 0;
    std::uint64_t unsubmitted = 0;
    std::uint64_t pending_submitted = 0;
    std::uint64_t pending_replies = 0;
    std::uint64_t invalid = 0;
    std::uint64_t read_write = 0;
    std::uint64_t read_blocks = 0;
    std::uint64_t written_blocks = 0;
    std::uint64_t errors[8] = {};  // by WnbdRequestType
};

/// Thread-safe. A lock, not atomics: a snapshot is to be consistent, and each request takes it four
/// times for a few instructions.
class Counters {
  public:
    /// A request was fetched. A disconnect is none.
    void received() noexcept;
    /// The library answers it itself.
    void rejected() noexcept;
    /// It is about to be handed to the application, who may answer before the callback returns.
    void submitted(const WNBD_IO_REQUEST& request) noexcept;
    /// The application answers.
    void reply_begun(WnbdRequestType type, bool failed) noexcept;
    /// The driver has the answer, or has refused it.
    void reply_ended() noexcept;

    [[nodiscard]] CounterValues snapshot() const noexcept;

  private:
    mutable std::mutex mutex_;
    CounterValues values_;  // guarded by mutex_
};

}  // namespace wnbd::libwnbd
