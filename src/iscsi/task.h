// SPDX-License-Identifier: LGPL-2.1-or-later
// One SCSI command on its way through the target: the engine's SRB.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "base/intrusive_list.h"
#include "engine/disk.h"
#include "scsi/command.h"

namespace wnbd::iscsi {

struct Task;

/// Who is told that a task is over.
class TaskOwner {
  public:
    /// From any thread, exactly once for each start() that said `pending`, possibly before start()
    /// returns. No lock is held.
    virtual void completed(Task& task) noexcept = 0;

  protected:
    ~TaskOwner() = default;
};

/// Waits for the end of what an abort cannot end at once.
struct Drain : engine::ResetWait {
    void (*done)(Drain& drain) noexcept = nullptr;
    void* context = nullptr;
};

/// Lives in its connection's fixed table. `data` must stay until the task is over.
struct Task : ListLink {
    // Set before LogicalUnit::start():
    TaskOwner* owner = nullptr;
    scsi::Nexus nexus = 0;
    std::uint8_t cdb_length = 0;
    std::array<std::uint8_t, 32> cdb{};
    /// All the data-out, or the room for all the data-in that the command moves.
    std::span<std::uint8_t> data;
    /// Bytes of data-out that the initiator offers, when they are more than `data` holds: where
    /// there is more than the command takes, some commands are refused.
    std::uint32_t offered = 0;

    // The outcome:
    engine::Cause cause = engine::Cause::answered;
    scsi::Answer answer;

    /// The unit's own: a task that aborts others' tasks ends after them.
    Drain aborted;
};

}  // namespace wnbd::iscsi
