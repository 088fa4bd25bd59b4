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
#include "iscsi/scratch_pool.h"
#include "iscsi/task.h"
#include "iscsi/unit_description.h"
#include "iscsi/unit_job.h"
#include "scsi/transfer.h"

namespace wnbd::iscsi {

/// Thread-safe. A task's whole life in it is: start(), then TaskOwner::completed() unless start()
/// said otherwise. Commands run on a thread that calls serve(), or on the backend's.
class LogicalUnit final : private engine::Port, private UnitJob::Owner {
  public:
    enum class Start : std::uint8_t {
        pending,   // completed() follows after serve(), or has been called
        answered,  // task.cause and task.answer are set; completed() is not called
    };

    /// The error is one line. `names` names the initiator ports for READ FULL STATUS and outlives
    /// the unit.
    [[nodiscard]] static Result<std::unique_ptr<LogicalUnit>, std::string> create(
        std::unique_ptr<backend::Backend> backend, const UnitSettings& settings,
        const scsi::NexusNames& names);
    LogicalUnit(const LogicalUnit&) = delete;
    LogicalUnit& operator=(const LogicalUnit&) = delete;
    /// Closes it.
    ~LogicalUnit();

    /// Bytes the command moves, by its CDB, and in which direction: so that the whole of it gets a
    /// buffer, however much the initiator expects. Nothing for what is refused anyway.
    [[nodiscard]] scsi::Transfer transfer_of(std::span<const std::uint8_t> cdb) const noexcept {
        return scsi::transfer_of(disk_.description(), cdb);
    }
    /// serve() has to follow soon on the same thread; several tasks may be started before it.
    [[nodiscard]] Start start(Task& task) noexcept;
    /// Serves what was started, together: a backend behind a network sends it in one go. Steps that
    /// the backend completes within submit() end in here, the others on the backend's thread.
    void serve() noexcept;

    /// Begins to end tasks; `done` is called once, from any thread, possibly before this returns,
    /// when the last of them is over (each has had its completed() before, with
    /// Cause::aborted). The Drain is the caller's until then.
    using Drain = iscsi::Drain;
    void abort(Task& task, Drain& drain) noexcept;
    void abort_nexus(scsi::Nexus nexus, Drain& drain) noexcept;  // ABORT TASK SET
    /// CLEAR TASK SET: everything. Other nexuses that lose commands so are told by a unit
    /// attention (2Fh).
    void clear(scsi::Nexus by, Drain& drain) noexcept;
    /// LOGICAL UNIT RESET and the target resets: everything, and what RESERVE has reserved. Every
    /// nexus is told by a unit attention (29h).
    void reset(Drain& drain) noexcept;

    /// A session has come: power on unit attention.
    void nexus_begins(scsi::Nexus nexus) noexcept { disk_.begin_nexus(nexus); }
    /// A session has gone for good.
    void nexus_lost(scsi::Nexus nexus) noexcept { disk_.lose_nexus(nexus); }
    [[nodiscard]] bool registered(scsi::Nexus nexus) noexcept { return disk_.registered(nexus); }

    /// The backend has `bytes` now, as Backend::size() says; what is no whole block is left out.
    /// Where that is another capacity, every nexus is told by a unit attention (2Ah/09h). Up to
    /// none: the unit is not ready then. One call at a time.
    void resize(std::uint64_t bytes) noexcept;

    [[nodiscard]] engine::Counters counters() noexcept { return disk_.counters(); }
    [[nodiscard]] const scsi::Disk& description() const noexcept { return disk_.description(); }
    [[nodiscard]] std::uint64_t block_count() const noexcept { return disk_.block_count(); }
    /// Flushes the backend and closes it; commands that come later find no unit. No task is under
    /// way. Idempotent.
    void close() noexcept;

  private:
    static constexpr std::uint32_t task_count_max = 1024;
    static constexpr std::size_t batch_max = 32;

    LogicalUnit(std::unique_ptr<backend::Backend> backend, const scsi::NexusNames& names);

    // engine::Port
    void complete(void* srb, engine::Cause cause, const scsi::Answer& answer) noexcept override;
    std::span<std::uint8_t> data(void* srb) noexcept override;
    void reset_done(void* reset_srb) noexcept override;
    void disks_changed() noexcept override {}
    void schedule_removal(std::uint64_t /*connection_id*/) noexcept override {}
    void write_transport_id(scsi::Nexus nexus, ByteWriter& out) const noexcept override;

    // UnitJob::Owner
    void job_over(UnitJob& job) noexcept override;

    [[nodiscard]] UnitJob* next_job() noexcept;
    void end_step(UnitJob& job) noexcept;
    [[nodiscard]] Start await_aborted(Task& task) noexcept;
    void drained(const engine::Disk::Drain& result, Drain& drain) noexcept;

    const std::unique_ptr<backend::Backend> backend_;
    const scsi::NexusNames& names_;
    ScratchPool scratch_;
    std::unique_ptr<UnitJob[]> jobs_;  // by the request's slot
    engine::Disk disk_;
    bool closed_ = false;
};

}  // namespace wnbd::iscsi
