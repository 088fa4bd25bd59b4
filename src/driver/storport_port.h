// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine's way out to Storport: SRBs are completed, mapped and their bus announced here.
#pragma once

#include "driver/srb_view.h"
#include "engine/disk.h"
#include "engine/port.h"

namespace wnbd::driver {

class AdapterDevice;

/// Our part of each SRB, in memory that Storport allocates with it and does not initialise.
struct SrbExtension {
    void* mapped = nullptr;  // a READ's or WRITE's buffer, once somebody has asked for it
    engine::ResetWait wait;  // resets and aborts
};

class StorportPort final : public engine::Port {
  public:
    explicit StorportPort(AdapterDevice& device) noexcept : device_(device) {}

    void complete(void* srb, engine::Cause cause, const scsi::Answer& answer) noexcept override;
    std::span<std::uint8_t> data(void* srb) noexcept override;
    void reset_done(void* reset_srb) noexcept override;
    void disks_changed() noexcept override;
    void schedule_removal(std::uint64_t connection_id) noexcept override;

    /// Gives an SRB back with this status. After it, the SRB is not touched.
    void finish(SrbView view, UCHAR status) noexcept;
    /// Gives back an SRB that ended with an answer.
    void finish(SrbView view, const scsi::Answer& answer) noexcept;

  private:
    AdapterDevice& device_;
};

}  // namespace wnbd::driver
