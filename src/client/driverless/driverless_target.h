// SPDX-License-Identifier: LGPL-2.1-or-later
// The target behind a driverless disk: what `map` was asked to serve, on the loopback, for nobody
// but who knows its secret.
#pragma once

#include <windows.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "client/driverless/initiator.h"
#include "client/map_plan.h"
#include "client/serve_log.h"
#include "client/served_target.h"

namespace wnbd::client {

/// Thread-safe, but for stop().
class DriverlessTarget {
  public:
    /// Opens the storage and listens. `debug`: more goes to the error output.
    [[nodiscard]] static Result<std::unique_ptr<DriverlessTarget>, ServedTarget::Refusal> start(
        const MapPlan& plan, bool debug);

    /// Where it is and what to log in with; the secret is new for each target.
    [[nodiscard]] const LoginTarget& login() const noexcept { return login_; }
    /// What the plan said, and what the storage can do; the size is the one of now.
    [[nodiscard]] WNBD_PROPERTIES properties() const noexcept;
    /// Time stamps on the clock of GetTickCount64, in 100 ns.
    [[nodiscard]] WNBD_DRV_STATS stats() noexcept;
    /// Why the storage is lost, in one line; empty as long as it is there.
    [[nodiscard]] std::string failure() const { return served_->failure(); }

    /// Closes the connections, and the storage after a flush. Empty, or one line that says what may
    /// not have been written. Idempotent; the destructor does it.
    [[nodiscard]] std::string stop();

  private:
    explicit DriverlessTarget(bool debug) noexcept : log_(debug) {}
    void complete_properties();
    [[nodiscard]] iscsi::LogicalUnit& unit() const noexcept {
        return *served_->target().units().front();
    }

    ServeLog log_;
    LoginTarget login_;
    WNBD_PROPERTIES properties_{};
    std::unique_ptr<ServedTarget> served_;
};

}  // namespace wnbd::client
