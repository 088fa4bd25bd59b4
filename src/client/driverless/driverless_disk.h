// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk that this process serves and Windows reaches through its own iSCSI initiator. From the
// login on, the disk's life is the initiator's session.
#pragma once

#include <windows.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/driverless/control_pipe.h"
#include "client/driverless/driverless_target.h"
#include "client/driverless/initiator.h"
#include "client/map_plan.h"

namespace wnbd::client {

class DriverlessDisk {
  public:
    DriverlessDisk(const MapPlan& plan, bool debug);
    DriverlessDisk(const DriverlessDisk&) = delete;
    DriverlessDisk& operator=(const DriverlessDisk&) = delete;

    /// Maps the disk and serves it until it is gone; nothing of it is left then. Once. Returns a
    /// Win32 error; ERROR_CONNECTION_ABORTED: the storage was lost.
    DWORD run();

    /// What run() failed with, in one line; may be empty.
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }

  private:
    DWORD fail(DWORD code, std::string detail);
    DWORD announce(ControlServer& control);
    void forget_orphans();
    DWORD attach();
    DWORD serve();
    bool wait_for_disk();
    void let_go();

    // From the control pipe's threads:
    ControlAnswer answer(ControlRequest request);
    ControlAnswer show();
    ControlAnswer remove(bool hard);

    const MapPlan plan_;
    const bool debug_;
    std::string detail_;
    std::unique_ptr<Initiator> initiator_;
    std::unique_ptr<DriverlessTarget> target_;
    OwnedHandle gone_;  // an event: the session is over, or is to be

    std::mutex removal_;  // one removal at a time; before mutex_
    std::mutex mutex_;    // guards what follows; not held over a call of the initiator
    std::optional<InitiatorSession> session_;
    std::optional<InitiatorDisk> disk_;
    bool over_ = false;        // nobody is to see the disk any more
    bool logged_out_ = false;  // and Windows has forgotten it
};

}  // namespace wnbd::client
