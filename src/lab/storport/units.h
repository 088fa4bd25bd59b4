// SPDX-License-Identifier: LGPL-2.1-or-later
// What the disk class sees of a unit, and what a stand-in for the PnP manager may do to it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lab/storport/port.h"

namespace wnbd::lab {

/// What the scan learned about a unit.
struct UnitIdentity {
    std::shared_ptr<Adapter> adapter;  ///< refuses everything once it is stopped
    Address address;
    std::vector<std::uint8_t> inquiry;         ///< standard INQUIRY data, at least 36 bytes
    std::string serial;                        ///< VPD page 80h, trimmed; may be empty
    std::vector<std::uint8_t> device_id_page;  ///< VPD page 83h, whole; may be empty
    std::u16string device_id;                  ///< SCSI\Disk&Ven_...&Prod_...
    std::u16string instance_id;                ///< the last part alone

    [[nodiscard]] std::u16string path() const { return device_id + u"\\" + instance_id; }
    [[nodiscard]] std::string vendor() const;
    [[nodiscard]] std::string product() const;
    [[nodiscard]] std::string revision() const;
};

/// The class driver's hook: called when the scan has made a unit's physical device, before PnP
/// hears of it. (Windows attaches disk.sys later, by AddDevice; the result is the same stack.)
using AttachClass = void (*)(PDEVICE_OBJECT physical_device, const UnitIdentity& identity);
void set_class(AttachClass attach);

/// True once the last scan did not find the unit: its REMOVE_DEVICE is then the last one.
[[nodiscard]] bool unit_is_missing(PDEVICE_OBJECT physical_device);
/// True after an orderly REMOVE_DEVICE of a unit that is still there.
[[nodiscard]] bool unit_is_removed(PDEVICE_OBJECT physical_device);

/// Who that device is, if it is a unit of ours. For IoGetDevicePropertyData of a host.
[[nodiscard]] std::optional<UnitIdentity> identity_of(PDEVICE_OBJECT physical_device);

struct UnitState {
    UnitIdentity identity;
    PDEVICE_OBJECT physical_device = nullptr;
    bool removed = false;
};
[[nodiscard]] std::vector<UnitState> units(PDEVICE_OBJECT functional_device);

enum class RemoveOutcome : std::uint32_t { Removed, Vetoed, NoSuchDevice };
/// What CM_Query_And_Remove_SubTree does to a unit: QUERY_REMOVE_DEVICE through the whole stack,
/// and on consent REMOVE_DEVICE, on refusal CANCEL_REMOVE_DEVICE. `path`: device id\instance id,
/// any case.
RemoveOutcome query_and_remove(PDEVICE_OBJECT functional_device, std::u16string_view path);
/// Disable and enable of the adapter's devnode. Disable asks all units and the adapter first.
RemoveOutcome disable_adapter(PDEVICE_OBJECT functional_device);
/// The adapter and its units are lost. disable_adapter() and enable_adapter() make it another one.
void surprise_adapter(PDEVICE_OBJECT functional_device);
NTSTATUS enable_adapter(PDEVICE_OBJECT functional_device);

/// Sends a PnP IRP to the top of the device's stack and waits. PASSIVE_LEVEL.
NTSTATUS send_pnp(PDEVICE_OBJECT device, UCHAR minor);

}  // namespace wnbd::lab
