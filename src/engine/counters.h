// SPDX-License-Identifier: LGPL-2.1-or-later
// What a disk counts. Guarded by the disk's queue lock, so a snapshot always adds up:
//   received  = submitted + unsubmitted + rejected + aborted_unsubmitted
//   submitted = replies + pending_submitted + aborted_submitted
#pragma once

#include <cstdint>

namespace wnbd::engine {

struct Counters {
    std::int64_t received = 0;           // block requests admitted
    std::int64_t submitted = 0;          // handed to user space at least once
    std::int64_t replies = 0;            // answered by user space to the end
    std::int64_t unsubmitted = 0;        // waiting now, never handed out
    std::int64_t pending_submitted = 0;  // handed out, not ended
    std::int64_t rejected = 0;           // could not be handed out (user buffer too small)
    std::int64_t aborted_submitted = 0;
    std::int64_t aborted_unsubmitted = 0;
    std::int64_t late_replies = 0;  // for requests that were aborted before
    // Interrupt times, 100 ns; 0 = never.
    std::uint64_t last_received_at = 0;
    std::uint64_t last_submitted_at = 0;
    std::uint64_t last_reply_at = 0;

    /// SRBs that are neither completed nor free.
    [[nodiscard]] std::int64_t outstanding() const noexcept {
        return unsubmitted + pending_submitted;
    }
};

}  // namespace wnbd::engine
