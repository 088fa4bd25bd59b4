// SPDX-License-Identifier: LGPL-2.1-or-later
// A target: its logical units, its sessions, and the initiator ports it has seen.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "iscsi/logical_unit.h"
#include "iscsi/login.h"
#include "iscsi/target_settings.h"

namespace wnbd::iscsi {

/// Where a target says what happens: one line each, with the peer's name in it.
class Log {
  public:
    enum class Level : std::uint8_t { error, warning, info, debug };
    virtual void write(Level level, const std::string& line) noexcept = 0;

  protected:
    ~Log() = default;
};

/// Thread-safe.
class Target : public SessionDirectory, public scsi::NexusNames {
  public:
    Target(TargetSettings settings, Log& log);

    /// Units are numbered from 0 in the order they are added, before the first connection.
    void add(std::unique_ptr<LogicalUnit> unit);
    /// By a LUN as on the wire (SAM-5 4.7); nullptr: there is none.
    [[nodiscard]] LogicalUnit* find(std::uint64_t lun) noexcept;
    // ... sessions, nexuses: see target.cpp's owner
};

}  // namespace wnbd::iscsi
