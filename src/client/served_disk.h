// SPDX-License-Identifier: LGPL-2.1-or-later
// The disks that this process serves: one for `map`, any number for `shell`.
#pragma once

#include <windows.h>

#include <memory>
#include <string>
#include <thread>

#include "client/control_state.h"
#include "client/library_log.h"
#include "client/map_plan.h"

namespace wnbd::client {

class ServedDisk {
  public:
    ServedDisk(const MapPlan& plan, LogUse log_use);
    ~ServedDisk();
    ServedDisk(const ServedDisk&) = delete;
    ServedDisk& operator=(const ServedDisk&) = delete;

    /// Maps the disk and serves it until it is gone. Reports a failure. Returns the exit code.
    DWORD serve();

    /// The same in a thread of its own. False when there can't be one.
    [[nodiscard]] bool serve_in_background();

    /// Waits until serving has ended. False: it goes on.
    [[nodiscard]] bool wait(DWORD timeout_ms) const noexcept {
        return WaitForSingleObject(ended_, timeout_ms) == WAIT_OBJECT_0;
    }

    /// What serve() returned; after wait().
    [[nodiscard]] DWORD code() const noexcept { return code_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// Whether the name means this process's disk: ours may not be mapped yet, or not any more.
    /// `number` becomes Windows's number of it, -1 when there is none yet.
    [[nodiscard]] bool is_mapped(INT& number) const;

    /// What a control event asks for: the first one removes the disk softly and then hard, the
    /// second one hard at once. False: there is nothing to remove, or it cannot be removed, which
    /// is reported.
    [[nodiscard]] bool remove();

  private:
    DWORD run_daemon();
    DWORD run_driverless();
    [[nodiscard]] bool is_remote() const noexcept;
    void stay_resident();

    MapPlan plan_;
    LogUse log_use_;
    std::string name_;
    ControlState control_;
    HANDLE ended_;
    DWORD code_ = ERROR_SUCCESS;
    std::string detail_;
    std::thread thread_;
};

/// Has the disks registered below removed when Windows asks the process to end: Ctrl-Break, the end
/// of the console, of the session or of Windows, and, but in the shell, Ctrl-C. Returns a Win32
/// error.
DWORD watch_control_events();

/// From now on this disk is removed at such an event.
void register_served_disk(std::shared_ptr<ServedDisk> disk);

/// Lets go of those that are not served any more.
void forget_ended_disks();

/// Removes all that are left, as Ctrl-C would, and waits for their end.
void remove_served_disks();

}  // namespace wnbd::client
