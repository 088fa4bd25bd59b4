// SPDX-License-Identifier: LGPL-2.1-or-later
// The way out of the engine: to Storport in the driver, to a model in tests.
#pragma once

#include <cstdint>
#include <span>

#include "scsi/reservations.h"

namespace wnbd::engine {

/// Why an SRB is over.
enum class Cause : std::uint8_t {
    answered,  // the Answer says how
    aborted,   // by ABORT COMMAND, LUN reset or target reset
    bus_reset,
    removed,  // the disk is gone
    failed,   // the way to user space failed
};

/// Implemented once per host. Every call may come at DISPATCH_LEVEL, from any thread, and is made
/// with no engine lock held.
/// The base class names initiator ports; who has more than one, or has real ones, overrides it.
class Port : public scsi::NexusNames {
  public:
    /// Ends an SRB. Called exactly once for each SRB that Disk::start() took as pending.
    virtual void complete(void* srb, Cause cause, const scsi::Answer& answer) noexcept = 0;

    /// The SRB's data buffer, mapped; empty when it has none or mapping failed. Valid until
    /// complete().
    virtual std::span<std::uint8_t> data(void* srb) noexcept = 0;

    /// All requests that a reset (or abort) had to end are ended: the reset's own SRB may complete.
    virtual void reset_done(void* reset_srb) noexcept = 0;

    /// The set of disks has changed: have the bus scanned.
    virtual void disks_changed() noexcept = 0;

    /// Asks for Adapter::remove(connection_id) from a thread that may wait.
    virtual void schedule_removal(std::uint64_t connection_id) noexcept = 0;

  protected:
    ~Port() = default;
};

}  // namespace wnbd::engine
