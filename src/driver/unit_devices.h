// SPDX-License-Identifier: LGPL-2.1-or-later
// Which device object Windows gave to which disk.
#pragma once

#include "base/intrusive_list.h"
#include "driver/ddk/nt.h"
#include "driver/unit_identities.h"
#include "engine/adapter.h"
#include "ioctl/control.h"

namespace wnbd::driver {

/// A unit's physical device object, and what Storport took its target for when it was started.
struct UnitDevice : ListLink {
    PDEVICE_OBJECT pdo = nullptr;  // referenced
    std::uint8_t target = 0;
    std::uint32_t generation = 0;
};

/// All functions run at PASSIVE_LEVEL, in any thread.
class UnitDevices final : public ioctl::DiskLocator {
  public:
    void initialize() noexcept { mutex_.initialize(); }
    /// Forgets all devices.
    void clear() noexcept;

    /// What Storport knows of each target. Any IRQL up to DISPATCH_LEVEL.
    [[nodiscard]] UnitIdentities& identities() noexcept { return identities_; }

    /// The device has been started for what the last scan found at `target`.
    void started(PDEVICE_OBJECT pdo, std::uint8_t target) noexcept;
    /// The device goes. Gives the connection id of the disk it stands for, 0 if there is none.
    std::uint64_t removed(PDEVICE_OBJECT pdo) noexcept;
    /// The connection id of the disk that a device stands for, 0 if there is none.
    [[nodiscard]] std::uint64_t connection_of(PDEVICE_OBJECT pdo) noexcept;

    void locate(std::uint8_t target, std::uint64_t connection_id, INT& disk_number,
                std::span<WCHAR> device_id) noexcept override;

  private:
    // Under mutex_:
    [[nodiscard]] UnitDevice* find(PDEVICE_OBJECT pdo) noexcept;
    [[nodiscard]] std::uint64_t connection_of(const UnitDevice& device) noexcept;

    /// Referenced, or nullptr.
    [[nodiscard]] PDEVICE_OBJECT device_of(std::uint8_t target,
                                           std::uint64_t connection_id) noexcept;

    UnitIdentities identities_;
    platform::Mutex mutex_;  // guards devices_; never held while a device is asked
    IntrusiveList<UnitDevice> devices_;
};

/// Asks a device with IOCTL_SCSI_GET_ADDRESS.
[[nodiscard]] NTSTATUS query_scsi_address(PDEVICE_OBJECT device, SCSI_ADDRESS& address) noexcept;

}  // namespace wnbd::driver
