// SPDX-License-Identifier: LGPL-2.1-or-later
// A logical unit: the engine's disk on one side, a backend on the other, in one process.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backend/backend.h"
#include "base/result.h"
#include "engine/disk.h"
#include "iscsi/task.h"

namespace wnbd::iscsi {

/// What the unit says of itself beyond what its backend knows.
struct UnitSettings {
    std::uint32_t block_size = 512;
    std::uint32_t physical_block_size = 0;  // 0: the block size
    bool read_only = false;
    std::string serial;
    std::string naa;  // 8 or 16 bytes, or empty: made from the serial
};

/// Thread-safe. A task's whole life in it is: start(), then TaskOwner::completed() unless start()
/// said otherwise.
class LogicalUnit {
  public:
    enum class Start : std::uint8_t {
        pending,   // completed() follows, or has been called
        answered,  // task.cause and task.answer are set; completed() is not called
    };

    /// The error is one line. `names` names the initiator ports for READ FULL STATUS.
    [[nodiscard]] static Result<std::unique_ptr<LogicalUnit>, std::string> create(
        std::unique_ptr<backend::Backend> backend, const UnitSettings& settings,
        const scsi::NexusNames& names);
    virtual ~LogicalUnit() = default;

    /// Bytes the command moves, by its CDB, and in which direction: so that the whole of it gets a
    /// buffer, however much the initiator expects. Nothing for what is refused anyway.
    [[nodiscard]] virtual scsi::Transfer transfer_of(
        std::span<const std::uint8_t> cdb) const noexcept = 0;
    [[nodiscard]] virtual Start start(Task& task) noexcept = 0;

    /// Begins to end tasks; `done` is called once, from any thread, possibly before this returns,
    /// when the last of them is over (each has had its completed() before, with
    /// Cause::aborted). The Drain is the caller's until then.
    struct Drain : engine::ResetWait {
        void (*done)(Drain& drain) noexcept = nullptr;
        void* context = nullptr;
    };
    virtual void abort(Task& task, Drain& drain) noexcept = 0;
    virtual void abort_nexus(scsi::Nexus nexus, Drain& drain) noexcept = 0;  // ABORT TASK SET
    /// CLEAR TASK SET and resets: everything; every other nexus (a reset: every one) is told by a
    /// unit attention.
    virtual void clear(scsi::Nexus by, Drain& drain) noexcept = 0;
    virtual void reset(Drain& drain) noexcept = 0;

    /// A session has come, or gone for good.
    virtual void nexus_begins(scsi::Nexus nexus) noexcept = 0;  // power on unit attention
    virtual void nexus_lost(scsi::Nexus nexus) noexcept = 0;
    [[nodiscard]] virtual bool registered(scsi::Nexus nexus) noexcept = 0;

    [[nodiscard]] virtual engine::Counters counters() noexcept = 0;
    [[nodiscard]] virtual const scsi::Disk& description() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t block_count() const noexcept = 0;
    /// Flushes the backend and closes it. No task is under way.
    virtual void close() noexcept = 0;
};

}  // namespace wnbd::iscsi
