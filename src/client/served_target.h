// SPDX-License-Identifier: LGPL-2.1-or-later
// An iSCSI target that this process serves: backends, logical units and sockets in one piece.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/result.h"
#include "client/chap_secret.h"
#include "client/exit_codes.h"
#include "client/serve_plan.h"
#include "iscsi/server.h"
#include "iscsi/target.h"

namespace wnbd::client {

/// Made and stopped by one thread.
class ServedTarget {
  public:
    struct Refusal {
        std::string text;  // why not, to be put behind a colon; one line
        DWORD code = ERROR_SUCCESS;
    };

    /// Opens the backends and serves from now on. `log` outlives it; any thread writes to it.
    [[nodiscard]] static Result<std::unique_ptr<ServedTarget>, Refusal> start(
        const ServePlan& plan, const ChapCredentials& credentials, iscsi::Log& log);
    ~ServedTarget();
    ServedTarget(const ServedTarget&) = delete;
    ServedTarget& operator=(const ServedTarget&) = delete;

    [[nodiscard]] iscsi::Target& target() noexcept { return *target_; }
    [[nodiscard]] const iscsi::Server& server() const noexcept { return *server_; }

    /// Why the storage of a unit is lost, in one line; empty as long as all are there. Any thread.
    [[nodiscard]] std::string failure() const;

    /// Has the initiators log out, which have `patience` for it, flushes the backends and closes
    /// them. Empty, or one line that says what may not have been written. Idempotent.
    [[nodiscard]] std::string stop(std::chrono::milliseconds patience);

  private:
    /// What becomes of a unit's storage: put into the log under the storage's name, and its new
    /// size told to the unit.
    class Storage final : public backend::Observer {
      public:
        Storage(std::string name, iscsi::Log& log) : name_(std::move(name)), log_(log) {}
        /// The unit is there now, and stays for as long as anything is told.
        void serves(iscsi::LogicalUnit& unit) noexcept;

        void told(Weight weight, const std::string& line) noexcept override;
        void resized(std::uint64_t size) noexcept override;

      private:
        const std::string name_;
        iscsi::Log& log_;
        std::mutex lock_;  // of what follows
        iscsi::LogicalUnit* unit_ = nullptr;
        std::optional<std::uint64_t> size_;  // bytes, told last
    };

    ServedTarget() = default;
    [[nodiscard]] Refusal open_units(const ServePlan& plan, iscsi::Log& log);
    [[nodiscard]] Refusal listen(const ServePlan& plan, iscsi::Log& log);

    std::vector<std::unique_ptr<Storage>> storages_;  // outlive the units' backends
    std::unique_ptr<iscsi::Target> target_;
    std::vector<backend::Backend*> backends_;  // the units'
    std::unique_ptr<iscsi::Server> server_;    // goes before the target
};

}  // namespace wnbd::client
