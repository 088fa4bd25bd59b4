// SPDX-License-Identifier: LGPL-2.1-or-later
// The adapter's start and stop: configuration, HwFindAdapter, HwInitialize, and the way back.
#include <cstring>
#include <mutex>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr ULONG kPoolTag = 0x6C705453;  // 'STpl'
constexpr ULONG kDefaultTargets = 128;
constexpr ULONG kDefaultLuns = 8;
constexpr ULONG kDefaultMaxIo = 1000;
constexpr ULONG kDefaultMaxIoUnit = 255;
constexpr ULONG kDefaultDepthVirtual = 250;
constexpr ULONG kBusTypeFibre = 6;  // Storport's default without Parameters\BusType

PORT_CONFIGURATION_INFORMATION default_configuration(const HW_INITIALIZATION_DATA& hw) {
    PORT_CONFIGURATION_INFORMATION config{};
    config.Length = sizeof config;
    config.AdapterInterfaceType = hw.AdapterInterfaceType;
    config.MaximumTransferLength = SP_UNINITIALIZED_VALUE;
    config.NumberOfPhysicalBreaks = 0x11;
    config.MapBuffers = hw.MapBuffers;
    config.TaggedQueuing = hw.TaggedQueuing;
    config.AutoRequestSense = hw.AutoRequestSense;
    config.MultipleRequestPerLu = hw.MultipleRequestPerLu;
    config.MaximumNumberOfTargets = kDefaultTargets;
    config.MaximumNumberOfLogicalUnits = kDefaultLuns;
    config.DeviceExtensionSize = hw.DeviceExtensionSize;
    config.SpecificLuExtensionSize = hw.SpecificLuExtensionSize;
    config.SrbExtensionSize = hw.SrbExtensionSize;
    config.Dma64BitAddresses = 0x80;
    const bool extended = (hw.SrbTypeFlags & SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK) != 0;
    config.SrbType = extended && !port_options().classic_srbs ? SRB_TYPE_STORAGE_REQUEST_BLOCK
                                                              : SRB_TYPE_SCSI_REQUEST_BLOCK;
    config.AddressType = STORAGE_ADDRESS_TYPE_BTL8;
    config.MaxNumberOfIO = kDefaultMaxIo;
    config.MaxIOsPerLun = kDefaultMaxIoUnit;
    config.InitialLunQueueDepth = kDefaultDepthVirtual;
    return config;
}

void check_configuration(PORT_CONFIGURATION_INFORMATION& config) {
    if (!config.VirtualDevice)
        report_violation("adapter configuration", "VirtualDevice must be TRUE");
    if (config.MaxNumberOfIO == 0 || config.MaxIOsPerLun == 0 ||
        config.MaxIOsPerLun > config.MaxNumberOfIO)
        report_violation("adapter configuration", "MaxIOsPerLun %lu, MaxNumberOfIO %lu",
                         config.MaxIOsPerLun, config.MaxNumberOfIO);
    if (config.MaxNumberOfIO == 0) config.MaxNumberOfIO = kDefaultMaxIo;
    if (config.MaxIOsPerLun == 0) config.MaxIOsPerLun = kDefaultMaxIoUnit;
    if (config.MaxIOsPerLun > kDefaultMaxIoUnit && config.SrbType == SRB_TYPE_SCSI_REQUEST_BLOCK)
        report_violation("adapter configuration", "MaxIOsPerLun %lu needs extended SRBs",
                         config.MaxIOsPerLun);
    if (config.NumberOfBuses == 0) report_violation("adapter configuration", "NumberOfBuses is 0");
}

ULONG read_bus_type(const DriverRecord& record) {
    std::u16string path = record.registry_path + u"\\Parameters";
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, reinterpret_cast<PCWSTR>(path.c_str()));
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
                               nullptr, nullptr);
    HANDLE key = nullptr;
    if (!NT_SUCCESS(ZwOpenKey(&key, KEY_READ, &attributes))) return kBusTypeFibre;
    UNICODE_STRING value;
    RtlInitUnicodeString(&value, L"BusType");
    alignas(8) UCHAR buffer[64];
    ULONG length = 0;
    ULONG bus_type = kBusTypeFibre;
    if (NT_SUCCESS(ZwQueryValueKey(key, &value, KeyValuePartialInformation, buffer, sizeof buffer,
                                   &length))) {
        const auto& info = *reinterpret_cast<const KEY_VALUE_PARTIAL_INFORMATION*>(buffer);
        if (info.Type == REG_DWORD && info.DataLength == sizeof bus_type)
            std::memcpy(&bus_type, info.Data, sizeof bus_type);
    }
    ZwClose(key);
    return bus_type;
}

void free_extension(FunctionalDevice& device) {
    void* const extension = device.hw_extension;
    device.hw_extension = nullptr;
    ExFreePoolWithTag(extension, kPoolTag);
}

bool find_and_initialize(FunctionalDevice& device) {
    const HW_INITIALIZATION_DATA& hw = device.driver->hw;
    device.config = default_configuration(hw);
    BOOLEAN again = FALSE;
    char no_argument[1] = "";
    const auto find = reinterpret_cast<PVIRTUAL_HW_FIND_ADAPTER>(hw.HwFindAdapter);
    const ULONG found = find(device.hw_extension, device.pdo, device.self, device.lower,
                             no_argument, &device.config, &again);
    if (found != SP_RETURN_FOUND) {
        DbgPrint("storport: HwFindAdapter gave %lu\n", found);
        return false;
    }
    check_configuration(device.config);
    const auto bus_type = static_cast<std::uint8_t>(read_bus_type(*device.driver));
    device.adapter = std::make_shared<Adapter>(hw, device.config, device.hw_extension,
                                               device.port_number, bus_type);
    device.adapter->fdo = device.self;
    register_adapter(*device.adapter);
    device.passive_initialize = nullptr;
    bool initialized = hw.HwInitialize(device.hw_extension) != FALSE;
    if (initialized && device.passive_initialize != nullptr)
        initialized = device.passive_initialize(device.hw_extension) != FALSE;
    if (initialized) return true;
    DbgPrint("storport: HwInitialize failed\n");
    unregister_adapter(*device.adapter);
    device.adapter.reset();
    return false;
}

struct ControlList {
    ULONG count;
    BOOLEAN supported[32];
};

ControlList supported_controls(FunctionalDevice& device) {
    ControlList list{};
    list.count = ScsiAdapterControlMax1809;
    const auto status = device.driver->hw.HwAdapterControl(device.hw_extension,
                                                           ScsiQuerySupportedControlTypes, &list);
    if (status != ScsiAdapterControlSuccess)
        report_violation("adapter control", "the query of supported types failed");
    for (ULONG i = ScsiAdapterControlMax1809; i < sizeof list.supported; ++i)
        if (list.supported[i])
            report_violation("adapter control", "type %lu written beyond the list", i);
    return list;
}

}  // namespace

NTSTATUS start_adapter(FunctionalDevice& device) {
    const std::lock_guard no_scan(device.scan_mutex);
    if (device.adapter) return STATUS_SUCCESS;
    DriverRecord& record = *device.driver;
    if (!record.tracing_started && record.hw.HwInitializeTracing != nullptr) {
        UNICODE_STRING path;
        RtlInitUnicodeString(&path, reinterpret_cast<PCWSTR>(record.registry_path.c_str()));
        record.hw.HwInitializeTracing(record.driver, &path);
    }
    record.tracing_started = true;
    const std::size_t size = record.hw.DeviceExtensionSize != 0 ? record.hw.DeviceExtensionSize : 1;
    device.hw_extension = ExAllocatePoolWithTag(NonPagedPool, size, kPoolTag);
    if (device.hw_extension == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    std::memset(device.hw_extension, 0, size);
    if (!find_and_initialize(device)) {
        free_extension(device);
        return STATUS_DEVICE_CONFIGURATION_ERROR;
    }
    const ControlList list = supported_controls(device);
    if (!list.supported[ScsiStopAdapter])
        report_violation("adapter control", "ScsiStopAdapter must be supported");
    DbgPrint("storport: adapter %u started: %u buses, %u targets, %lu I/Os, %lu per unit\n",
             device.port_number, device.config.NumberOfBuses, device.config.MaximumNumberOfTargets,
             device.config.MaxNumberOfIO, device.config.MaxIOsPerLun);
    return STATUS_SUCCESS;
}

void stop_adapter(FunctionalDevice& device) {
    // A scan uses the adapter, and the removal of a disk just before has asked for one.
    const std::lock_guard no_scan(device.scan_mutex);
    const std::shared_ptr<Adapter> adapter = std::move(device.adapter);
    if (!adapter) return;
    const HW_INITIALIZATION_DATA& hw = device.driver->hw;
    if (hw.HwCompleteServiceIrp != nullptr) hw.HwCompleteServiceIrp(device.hw_extension);
    adapter->stop();
    if (supported_controls(device).supported[ScsiStopAdapter])
        hw.HwAdapterControl(device.hw_extension, ScsiStopAdapter, nullptr);
    hw.HwFreeAdapterResources(device.hw_extension);
    unregister_adapter(*adapter);
    free_extension(device);
    DbgPrint("storport: adapter %u stopped\n", device.port_number);
}

void unit_control(FunctionalDevice& device, SCSI_UNIT_CONTROL_TYPE type, Address address) {
    const HW_INITIALIZATION_DATA& hw = device.driver->hw;
    if (hw.HwUnitControl == nullptr || !device.adapter) return;
    ControlList list{};
    list.count = ScsiUnitControlMax1809;
    if (hw.HwUnitControl(device.hw_extension, ScsiQuerySupportedUnitControlTypes, &list) !=
            ScsiUnitControlSuccess ||
        !list.supported[type])
        return;
    STOR_ADDR_BTL8 where{};
    where.Type = STOR_ADDRESS_TYPE_BTL8;
    where.AddressLength = STOR_ADDR_BTL8_ADDRESS_LENGTH;
    where.Path = address.path;
    where.Target = address.target;
    where.Lun = address.lun;
    hw.HwUnitControl(device.hw_extension, type, &where);
}

}  // namespace wnbd::lab
