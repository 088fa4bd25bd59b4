// SPDX-License-Identifier: LGPL-2.1-or-later
// The device objects of the port: the adapter's functional device and a physical device per unit.
// Private to src/lab/storport, but for what units.h shows.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver/ddk/storport.h"
#include "lab/storport/adapter.h"
#include "lab/storport/units.h"

namespace wnbd::lab {

enum class DeviceKind : std::uint32_t { Functional = 0x4F444657, Physical = 0x4F445057 };

struct DeviceHeader {
    DeviceKind kind;
};

/// What StorPortInitialize was told, kept for AddDevice; one per driver object, never freed before
/// unload.
struct DriverRecord {
    PDRIVER_OBJECT driver = nullptr;
    HW_INITIALIZATION_DATA hw{};
    std::u16string registry_path;
    bool tracing_started = false;
    PDRIVER_DISPATCH miniport_close = nullptr;  // what stood in the table before our early CLOSE
};

struct PhysicalDevice;

struct FunctionalDevice : DeviceHeader {
    PDEVICE_OBJECT self = nullptr;
    PDEVICE_OBJECT pdo = nullptr;
    PDEVICE_OBJECT lower = nullptr;
    DriverRecord* driver = nullptr;
    std::uint8_t port_number = 0;
    void* hw_extension = nullptr;
    PHW_PASSIVE_INITIALIZE_ROUTINE passive_initialize = nullptr;
    std::shared_ptr<Adapter> adapter;  // from start to stop; users take a copy
    PORT_CONFIGURATION_INFORMATION config{};
    bool disabling = false;  // REMOVE_DEVICE stops the adapter, but the device object stays

    std::mutex units_mutex;  // the list; the devices themselves live until their REMOVE_DEVICE
    std::vector<PhysicalDevice*> units;
    std::atomic<int> removals_due{0};  // units found missing whose REMOVE_DEVICE is to come
    std::mutex scan_mutex;  // one scan at a time, and none while the adapter starts or stops
};

struct PhysicalDevice : DeviceHeader {
    PDEVICE_OBJECT self = nullptr;
    FunctionalDevice* parent = nullptr;
    UnitIdentity identity;
    std::atomic<bool> missing{false};  // not found by the last scan
    // The last SRB that may be its own, once it is missing: another unit may follow at its address.
    std::atomic<std::uint64_t> last_sequence{UINT64_MAX};
    std::atomic<bool> reported{false};   // handed to PnP
    std::atomic<bool> surprised{false};  // SURPRISE_REMOVAL was seen
    std::atomic<bool> removed{false};    // REMOVE_DEVICE was seen, but the unit is still there
};

[[nodiscard]] DriverRecord* record_of(PDRIVER_OBJECT driver);
/// The adapter device of a miniport's extension, from HwFindAdapter on; nullptr if there is none.
[[nodiscard]] FunctionalDevice* device_of(const void* hw_extension);
void register_device(FunctionalDevice& device);
void unregister_device(FunctionalDevice& device);

NTSTATUS complete(PIRP irp, NTSTATUS status, ULONG_PTR information = 0);
/// Passes the IRP on and waits for it to come back; the caller completes it then.
NTSTATUS forward_and_wait(PDEVICE_OBJECT lower, PIRP irp);

NTSTATUS start_adapter(FunctionalDevice& device);
/// HwCompleteServiceIrp, stop, HwFreeAdapterResources. The order of the first two is a guess.
void stop_adapter(FunctionalDevice& device);
/// The bus scan; leaves `units` as found. PASSIVE_LEVEL.
void scan_bus(FunctionalDevice& device);
/// Whether a unit answers INQUIRY. PASSIVE_LEVEL.
[[nodiscard]] bool unit_answers(Adapter& adapter, Address address);
/// This thread has asked for a scan while working on a service IRP.
void note_bus_change();
/// Before this thread completes a service IRP: see Host::awaits_departures.
void await_departures(FunctionalDevice& device);
/// HwUnitControl, where the miniport has it and says that it takes the type.
void unit_control(FunctionalDevice& device, SCSI_UNIT_CONTROL_TYPE type, Address address);

NTSTATUS functional_pnp(FunctionalDevice& device, PIRP irp);
NTSTATUS functional_control(FunctionalDevice& device, PIRP irp);
NTSTATUS physical_pnp(PhysicalDevice& device, PIRP irp);
NTSTATUS physical_control(PhysicalDevice& device, PIRP irp);

}  // namespace wnbd::lab
