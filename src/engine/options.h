// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's options: ten names with types, defaults and ranges, a runtime value each, and a
// persistent one behind OptionStore. See docs/compatibility.md for where we differ from the first
// implementation.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "base/abi.h"
#include "base/nt_status.h"
#include "base/option_table.h"
#include "base/result.h"
#include "engine/platform.h"

namespace wnbd::engine {

/// In the order in which they are listed: that of option_definitions.
enum class OptionId : std::uint8_t {
    log_level,
    new_mappings_allowed,
    etw_logging_enabled,
    wpp_logging_enabled,
    dbg_print_enabled,
    max_io_req_per_adapter,
    max_io_req_per_lun,
    remove_stale_connections,
    stale_req_timeout_ms,
    stale_conn_timeout_ms,
};

/// Where persistent values live (in the driver: REG_QWORD values of its persistent-state key).
/// `name` is NUL-terminated, in the spelling of the option table. PASSIVE_LEVEL.
class OptionStore {
  public:
    /// object_name_not_found when absent, object_type_mismatch when it is not a 64-bit number.
    virtual Result<std::int64_t, nt::Status> read(const WCHAR* name) noexcept = 0;
    virtual nt::Status write(const WCHAR* name, std::int64_t value) noexcept = 0;
    virtual nt::Status erase(const WCHAR* name) noexcept = 0;
    /// A stored value that could not be taken: told once each time the options are loaded.
    virtual void ignored(const char* name, nt::Status why) noexcept = 0;

  protected:
    ~OptionStore() = default;
};

class Options {
  public:
    Options() = default;
    Options(const Options&) = delete;
    Options& operator=(const Options&) = delete;

    /// Once, before anything else: defaults, then what the store holds.
    void initialize(OptionStore& store) noexcept;

    /// The runtime value: lock-free, any IRQL. Booleans are 0 or 1. Always within the option's
    /// range.
    [[nodiscard]] std::int64_t value(OptionId id) const noexcept {
        return values_[static_cast<std::size_t>(id)].load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool enabled(OptionId id) const noexcept { return value(id) != 0; }
    /// The option, and no pause. Lock-free, any IRQL.
    [[nodiscard]] bool new_mappings_allowed() const noexcept;

    // The ioctls. PASSIVE_LEVEL, any thread; each is atomic against the others. `name` is
    // NUL-terminated and compared without case. get() and list() tell what is in force: during a
    // pause NewMappingsAllowed is false.

    [[nodiscard]] nt::Status get(const WCHAR* name, bool persistent,
                                 WNBD_OPTION_VALUE& out) noexcept;
    /// Coerces, checks the range, stores. invalid_parameter when out of range or not a number.
    [[nodiscard]] nt::Status set(const WCHAR* name, const WNBD_OPTION_VALUE& value,
                                 bool persistent) noexcept;
    [[nodiscard]] nt::Status reset(const WCHAR* name, bool persistent) noexcept;
    /// One consistent snapshot. Returns how many entries were filled: all of them, or with
    /// `persistent` those that are stored. `out` has room for option_count.
    [[nodiscard]] std::size_t list(bool persistent, std::span<WNBD_OPTION> out) noexcept;
    /// Runtime values become the stored ones, or the defaults where nothing is stored.
    [[nodiscard]] nt::Status reload() noexcept;

    /// A pause of new mappings, under the value that is set: for NewMappingsAllowed false they are
    /// refused for `lease_ms` (1 to WNBD_MAX_OPTION_LEASE_MS) from now on; true ends the pause.
    /// invalid_parameter for other options, values that are no boolean, and times.
    [[nodiscard]] nt::Status lease(const WCHAR* name, const WNBD_OPTION_VALUE& value,
                                   std::uint32_t lease_ms) noexcept;
    /// Ends the pause, if there is one. Any thread.
    void end_pause() noexcept { paused_until_.store(0, std::memory_order_relaxed); }

  private:
    [[nodiscard]] std::int64_t in_force(std::size_t index) const noexcept;

    OptionStore* store_ = nullptr;
    platform::Mutex mutex_;
    std::atomic<std::int64_t> values_[option_count] = {};
    std::atomic<std::uint64_t> paused_until_{0};  // interrupt time; 0: no pause
};

}  // namespace wnbd::engine
