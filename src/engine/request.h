// SPDX-License-Identifier: LGPL-2.1-or-later
// One request of a disk's fixed table, and its states.
#pragma once

#include <cstdint>

#include "base/intrusive_list.h"
#include "engine/port.h"
#include "scsi/step.h"

namespace wnbd::engine {

// The life of a request. Each arrow is one function of Disk, made under the disk's queue lock:
//
//             start                take                  publish
//     free ----------> pending ----------> fetching ----------------> submitted
//      ^                 ^ |                 |  |                       |   |
//      |                 | | drain      drain|  | return_unfetched      |   | drain
//      |                 | v                 v  +-> pending             |   v
//      |<------------- complete      flagged, ended by publish          | complete
//      |                 |                                              |
//      |                 +-- next step -- finish_reply <-- replying <---+ begin_reply
//      +------------------- complete ---------+
//
// A server in the same process goes from pending straight to replying (take_now) and back, or to
// the end, by finish_step.
//
// In `fetching` and `replying` a thread copies data without a lock. Nobody else may end such a
// request, since that would free the buffer under the copy: a drain only flags it (doom), and the
// copying thread ends it when the copy is over. So each SRB has one owner at each moment and ends
// once.
/// `ending`: taken off every list by a drain, about to complete; no tag finds it any more.
enum class RequestState : std::uint8_t { free, pending, fetching, submitted, replying, ending };

/// Slot in the low 16 bits, generation above: a late or forged tag finds nothing. Never 0.
using Tag = std::uint64_t;

struct Request : ListLink {
    RequestState state = RequestState::free;
    bool doomed = false;          // flagged by a drain while a copy is under way
    Cause doom = Cause::aborted;  // how a doomed request ends
    bool was_submitted = false;   // user space has had a step of it
    scsi::Nexus nexus = 0;        // who sent it
    std::uint16_t slot = 0;
    std::uint64_t generation = 0;
    std::uint64_t received_at = 0;  // interrupt time
    void* srb = nullptr;
    scsi::BlockRequest block{};
    scsi::Step step{};

    [[nodiscard]] Tag tag() const noexcept { return (generation << 16) | slot; }
};

}  // namespace wnbd::engine
