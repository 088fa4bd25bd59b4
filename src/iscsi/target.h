// SPDX-License-Identifier: LGPL-2.1-or-later
// A target: its logical units, its sessions, and the initiator ports it has seen.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "iscsi/buffer_pool.h"
#include "iscsi/logical_unit.h"
#include "iscsi/session_table.h"
#include "iscsi/target_settings.h"

namespace wnbd::iscsi {

/// Where a target says what happens: one line each, with the peer's name in it. Any thread.
class Log {
  public:
    enum class Level : std::uint8_t { error, warning, info, debug };
    virtual void write(Level level, const std::string& line) noexcept = 0;

  protected:
    ~Log() = default;
};

/// Thread-safe, once its units are there. Outlives its connections.
class Target final {
  public:
    static constexpr std::size_t units_max = 256;

    Target(TargetSettings settings, Log& log);

    /// What units are created with: the names of initiator ports.
    [[nodiscard]] const scsi::NexusNames& names() const noexcept { return sessions_; }

    /// Units are numbered from 0 in the order they are added, before the first connection; at most
    /// units_max.
    void add(std::unique_ptr<LogicalUnit> unit) { units_.push_back(std::move(unit)); }
    /// By a LUN as on the wire (SAM-5 4.7); nullptr: there is none.
    [[nodiscard]] LogicalUnit* find(std::uint64_t lun) const noexcept;
    [[nodiscard]] std::span<const std::unique_ptr<LogicalUnit>> units() const noexcept {
        return units_;
    }

    [[nodiscard]] const TargetSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] Log& log() const noexcept { return log_; }
    [[nodiscard]] BufferPool& buffers() noexcept { return buffers_; }
    [[nodiscard]] SessionTable& sessions() noexcept { return sessions_; }

  private:
    [[nodiscard]] bool registered(scsi::Nexus nexus) noexcept;

    const TargetSettings settings_;
    Log& log_;
    BufferPool buffers_;
    std::vector<std::unique_ptr<LogicalUnit>> units_;
    SessionTable sessions_;
};

}  // namespace wnbd::iscsi
