// SPDX-License-Identifier: LGPL-2.1-or-later
// A PnP manager for one root-enumerated adapter and its children. Its requests are serialised, as
// Windows's are; bus relations are looked at asynchronously, by a worker.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "driver/ddk/kernel.h"

namespace wnbd::lab::process {

/// A child device that was reported, started and not yet removed.
struct Child {
    PDEVICE_OBJECT pdo;
    std::wstring device_id;  ///< "SCSI\\Disk..."
    std::wstring instance_id;
};

/// Makes a root device, calls AddDevice, starts it and scans it. Gives its PDO, or nullptr with the
/// status.
PDEVICE_OBJECT add_root_device(PDRIVER_OBJECT driver, const std::wstring& instance_path,
                               NTSTATUS& status);
/// Removes the children and then the device itself. With `surprise`, as when hardware vanishes;
/// otherwise each is asked first, and a refusal is returned and leaves everything as it was.
NTSTATUS remove_root_device(PDEVICE_OBJECT pdo, bool surprise);
/// Asks a child to go (QUERY_REMOVE); if it agrees, removes it. A refusal is returned, after
/// CANCEL_REMOVE.
NTSTATUS eject_child(PDEVICE_OBJECT child);

/// Tells a device that its hardware is gone (SURPRISE_REMOVAL) and leaves it at that: as when open
/// handles keep REMOVE_DEVICE away.
void surprise(PDEVICE_OBJECT pdo);
/// What a device says of itself (QUERY_CAPABILITIES).
NTSTATUS capabilities_of(PDEVICE_OBJECT pdo, DEVICE_CAPABILITIES& capabilities);

/// Children as of the last completed scan.
std::vector<Child> children_of(PDEVICE_OBJECT root);
/// Scans now instead of waiting for a notification.
void rescan(PDEVICE_OBJECT root);
/// Waits until the scans that were asked for are done; false after the time.
bool wait_for_scans(std::uint32_t timeout_ms);
/// Until it is called with false, a bus that says it has changed is not looked at: as when PnP has
/// not come to it yet.
void ignore_bus_changes(bool ignore);

/// The device whose interface of this class is enabled, or nullptr.
PDEVICE_OBJECT find_interface(const GUID& interface_class);
/// Reports interfaces that are still enabled.
void check_interface_balance();

/// For the properties: the instance path of a PDO ("ROOT\\SCSIADAPTER\\0000"), empty if it is
/// unknown.
std::wstring instance_path_of(PDEVICE_OBJECT pdo);

}  // namespace wnbd::lab::process
