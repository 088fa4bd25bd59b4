// SPDX-License-Identifier: LGPL-2.1-or-later
// Which device object Windows gave to which disk.
#pragma once

#include "base/intrusive_list.h"
#include "driver/ddk/nt.h"
#include "engine/adapter.h"
#include "ioctl/control.h"

namespace wnbd::driver {

/// A unit's physical device object, with the disk it was started for. The disk of the same target
/// may be another one by now, so everything goes by connection id.
struct UnitDevice : ListLink {
    PDEVICE_OBJECT pdo = nullptr;  // referenced
    std::uint8_t target = 0;
    std::uint64_t connection_id = 0;
};

/// All functions run at PASSIVE_LEVEL, in any thread.
class UnitDevices final : public ioctl::DiskLocator {
  public:
    explicit UnitDevices(engine::Adapter& adapter) noexcept : adapter_(adapter) {}

    void initialize() noexcept { mutex_.initialize(); }
    /// Forgets all devices.
    void clear() noexcept;

    /// The device has been started for the disk that is now at `target`.
    void started(PDEVICE_OBJECT pdo, std::uint8_t target) noexcept;
    /// The device goes. Gives the connection id it was started for, 0 if we do not know it.
    std::uint64_t removed(PDEVICE_OBJECT pdo) noexcept;
    /// The connection id a device was started for, 0 if we do not know it.
    [[nodiscard]] std::uint64_t connection_of(PDEVICE_OBJECT pdo) noexcept;

    void locate(std::uint8_t target, std::uint64_t connection_id, INT& disk_number,
                std::span<WCHAR> device_id) noexcept override;

  private:
    [[nodiscard]] UnitDevice* find(PDEVICE_OBJECT pdo) noexcept;
    /// Referenced, or nullptr.
    [[nodiscard]] PDEVICE_OBJECT device_of(std::uint8_t target,
                                           std::uint64_t connection_id) noexcept;

    engine::Adapter& adapter_;
    platform::Mutex mutex_;  // guards devices_; never held while a device is asked
    IntrusiveList<UnitDevice> devices_;
};

/// Asks a device with IOCTL_SCSI_GET_ADDRESS.
[[nodiscard]] NTSTATUS query_scsi_address(PDEVICE_OBJECT device, SCSI_ADDRESS& address) noexcept;

}  // namespace wnbd::driver
