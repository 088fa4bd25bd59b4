// SPDX-License-Identifier: LGPL-2.1-or-later
// StorPortInitialize, AddDevice, and the driver's dispatch table.
#include <cstring>
#include <deque>
#include <new>
#include <shared_mutex>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr ULONG kSizeWindows8 = sizeof(HW_INITIALIZATION_DATA);
constexpr ULONG kSizeVirtualVista = 176;

std::shared_mutex registry_mutex;
std::deque<DriverRecord> records;
std::vector<FunctionalDevice*> devices;
std::atomic<std::uint8_t> next_port{0};

DeviceHeader& header_of(PDEVICE_OBJECT device) {
    return *static_cast<DeviceHeader*>(device->DeviceExtension);
}

FunctionalDevice& functional_of(PDEVICE_OBJECT device) {
    return *static_cast<FunctionalDevice*>(device->DeviceExtension);
}

PhysicalDevice& physical_of(PDEVICE_OBJECT device) {
    return *static_cast<PhysicalDevice*>(device->DeviceExtension);
}

bool is_functional(PDEVICE_OBJECT device) {
    return header_of(device).kind == DeviceKind::Functional;
}

NTSTATUS NTAPI dispatch_pnp(PDEVICE_OBJECT device, PIRP irp) {
    return is_functional(device) ? functional_pnp(functional_of(device), irp)
                                 : physical_pnp(physical_of(device), irp);
}

NTSTATUS NTAPI dispatch_control(PDEVICE_OBJECT device, PIRP irp) {
    return is_functional(device) ? functional_control(functional_of(device), irp)
                                 : physical_control(physical_of(device), irp);
}

NTSTATUS NTAPI dispatch_create(PDEVICE_OBJECT, PIRP irp) {
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI dispatch_cleanup(PDEVICE_OBJECT, PIRP irp) {
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI cleanup_done(PDEVICE_OBJECT, PIRP, PVOID event) {
    KeSetEvent(static_cast<PKEVENT>(event), IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/// IRP_MJ_CLEANUP and, after the calls under way, IRP_MJ_CLOSE for a file object whose I/O manager
/// sends the latter alone and early. Both go to the miniport's own handlers, if it has put some
/// over ours.
NTSTATUS close_with_cleanup(void* context, PIRP close) {
    auto* const device = static_cast<PDEVICE_OBJECT>(context);
    PIRP const cleanup = IoAllocateIrp(device->StackSize, FALSE);
    if (cleanup == nullptr) return complete(close, STATUS_INSUFFICIENT_RESOURCES);
    KEVENT done;
    KeInitializeEvent(&done, NotificationEvent, FALSE);
    cleanup->RequestorMode = KernelMode;
    cleanup->Tail.Overlay.OriginalFileObject = close->Tail.Overlay.OriginalFileObject;
    cleanup->Tail.Overlay.Thread = close->Tail.Overlay.Thread;
    PIO_STACK_LOCATION const next = IoGetNextIrpStackLocation(cleanup);
    next->MajorFunction = IRP_MJ_CLEANUP;
    next->FileObject = IoGetCurrentIrpStackLocation(close)->FileObject;
    IoSetCompletionRoutine(cleanup, cleanup_done, &done, TRUE, TRUE, TRUE);
    const NTSTATUS status = IofCallDriver(device, cleanup);
    if (status == STATUS_PENDING)
        KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, nullptr);
    IoFreeIrp(cleanup);
    host().await_calls(close);
    return record_of(device->DriverObject)->miniport_close(device, close);
}

NTSTATUS NTAPI dispatch_close(PDEVICE_OBJECT, PIRP irp) {
    return complete(irp, STATUS_SUCCESS);
}

NTSTATUS NTAPI dispatch_early_close(PDEVICE_OBJECT device, PIRP irp) {
    return host().run_blocking(irp, false, close_with_cleanup, device);
}

/// Stands in front of the miniport's own handler where CLOSE comes before its time. DriverEntry has
/// returned, and nothing has been opened yet.
void catch_early_close(DriverRecord& record) {
    if (host().await_calls == nullptr || record.miniport_close != nullptr) return;
    record.miniport_close = record.driver->MajorFunction[IRP_MJ_CLOSE];
    record.driver->MajorFunction[IRP_MJ_CLOSE] = dispatch_early_close;
}

NTSTATUS NTAPI dispatch_power(PDEVICE_OBJECT device, PIRP irp) {
    if (!is_functional(device)) return complete(irp, STATUS_SUCCESS);
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(functional_of(device).lower, irp);
}

NTSTATUS NTAPI dispatch_system_control(PDEVICE_OBJECT device, PIRP irp) {
    if (!is_functional(device)) return complete(irp, irp->IoStatus.Status);
    IoSkipCurrentIrpStackLocation(irp);
    return IofCallDriver(functional_of(device).lower, irp);
}

VOID NTAPI driver_unload(PDRIVER_OBJECT driver) {
    DriverRecord* const record = record_of(driver);
    if (record != nullptr && record->tracing_started && record->hw.HwCleanupTracing != nullptr)
        record->hw.HwCleanupTracing(driver);
    if (record != nullptr) record->driver = nullptr;
    DbgPrint("storport: unload, %u violations so far\n", static_cast<unsigned>(violation_count()));
}

NTSTATUS NTAPI add_device(PDRIVER_OBJECT driver, PDEVICE_OBJECT pdo) {
    DriverRecord* const record = record_of(driver);
    if (record == nullptr) return STATUS_NO_SUCH_DEVICE;
    catch_early_close(*record);
    const std::uint8_t port = next_port.fetch_add(1);
    WCHAR text[32] = L"\\Device\\RaidPort";
    std::size_t end = std::char_traits<WCHAR>::length(text);
    if (port >= 10) text[end++] = static_cast<WCHAR>(L'0' + port / 10 % 10);
    text[end++] = static_cast<WCHAR>(L'0' + port % 10);
    text[end] = L'\0';
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, text);
    PDEVICE_OBJECT self = nullptr;
    const NTSTATUS status = IoCreateDevice(driver, sizeof(FunctionalDevice), &name,
                                           FILE_DEVICE_CONTROLLER, 0, FALSE, &self);
    if (!NT_SUCCESS(status)) return status;
    auto& device = *new (self->DeviceExtension) FunctionalDevice;
    device.kind = DeviceKind::Functional;
    device.self = self;
    device.pdo = pdo;
    device.driver = record;
    device.port_number = port;
    device.lower = IoAttachDeviceToDeviceStack(self, pdo);
    if (device.lower == nullptr) {
        device.~FunctionalDevice();
        IoDeleteDevice(self);
        return STATUS_NO_SUCH_DEVICE;
    }
    register_device(device);
    self->Flags &= ~static_cast<ULONG>(DO_DEVICE_INITIALIZING);
    DbgPrint("storport: adapter %u added\n", port);
    return STATUS_SUCCESS;
}

void check_virtual(const HW_INITIALIZATION_DATA& hw) {
    const auto demand = [](bool holds, const char* what) {
        if (!holds) report_violation("initialisation data", "%s", what);
    };
    demand(hw.AdapterInterfaceType == Internal, "AdapterInterfaceType must be Internal");
    demand(hw.NumberOfAccessRanges == 0, "NumberOfAccessRanges must be 0");
    demand(hw.HwInterrupt == nullptr && hw.HwDmaStarted == nullptr &&
               hw.HwAdapterState == nullptr && hw.HwBuildIo == nullptr,
           "HwInterrupt, HwDmaStarted, HwAdapterState and HwBuildIo must be NULL");
    demand(hw.TaggedQueuing && hw.AutoRequestSense && hw.MultipleRequestPerLu,
           "TaggedQueuing, AutoRequestSense and MultipleRequestPerLu must be TRUE");
    demand(hw.HwInitialize && hw.HwStartIo && hw.HwFindAdapter && hw.HwResetBus &&
               hw.HwAdapterControl && hw.HwFreeAdapterResources,
           "a required callback is NULL");
    demand(hw.HwInitializeTracing == nullptr || hw.HwCleanupTracing != nullptr,
           "HwInitializeTracing needs HwCleanupTracing");
    demand(hw.MapBuffers <= STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE, "MapBuffers above 3");
}

}  // namespace

DriverRecord* record_of(PDRIVER_OBJECT driver) {
    const std::shared_lock lock(registry_mutex);
    for (DriverRecord& record : records)
        if (record.driver == driver) return &record;
    return nullptr;
}

FunctionalDevice* device_of(const void* hw_extension) {
    const std::shared_lock lock(registry_mutex);
    for (FunctionalDevice* device : devices)
        if (device->hw_extension == hw_extension) return device;
    return nullptr;
}

void register_device(FunctionalDevice& device) {
    const std::unique_lock lock(registry_mutex);
    devices.push_back(&device);
}

void unregister_device(FunctionalDevice& device) {
    const std::unique_lock lock(registry_mutex);
    std::erase(devices, &device);
}

std::optional<UnitIdentity> identity_of(PDEVICE_OBJECT physical_device) {
    const std::shared_lock lock(registry_mutex);
    for (FunctionalDevice* device : devices) {
        const std::lock_guard units_lock(device->units_mutex);
        for (const PhysicalDevice* unit : device->units)
            if (unit->self == physical_device) return unit->identity;
    }
    return std::nullopt;
}

NTSTATUS complete(PIRP irp, NTSTATUS status, ULONG_PTR information) {
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IofCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

NTSTATUS forward_and_wait(PDEVICE_OBJECT lower, PIRP irp) {
    KEVENT done;
    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IoCopyCurrentIrpStackLocationToNext(irp);
    IoSetCompletionRoutine(irp, cleanup_done, &done, TRUE, TRUE, TRUE);
    const NTSTATUS status = IofCallDriver(lower, irp);
    if (status != STATUS_PENDING) return status;
    KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, nullptr);
    return irp->IoStatus.Status;
}

}  // namespace wnbd::lab

using namespace wnbd::lab;

ULONG NTAPI StorPortInitialize(PVOID driver_object, PVOID registry_path,
                               HW_INITIALIZATION_DATA* data, PVOID) {
    if (driver_object == nullptr || registry_path == nullptr || data == nullptr)
        return static_cast<ULONG>(STATUS_INVALID_PARAMETER);
    if (host().prepare != nullptr) host().prepare();
    const ULONG size = data->HwInitializationDataSize;
    if (size != kSizeWindows8 && size != kSizeVirtualVista)
        return static_cast<ULONG>(STATUS_REVISION_MISMATCH);
    auto* const driver = static_cast<PDRIVER_OBJECT>(driver_object);
    const auto* const path = static_cast<const UNICODE_STRING*>(registry_path);
    DriverRecord record;
    record.driver = driver;
    std::memcpy(&record.hw, data, size);
    if (size == kSizeVirtualVista) {
        record.hw.FeatureSupport = STOR_FEATURE_VIRTUAL_MINIPORT;
        record.hw.SrbTypeFlags = SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK;
    }
    if ((record.hw.FeatureSupport & STOR_FEATURE_VIRTUAL_MINIPORT) == 0) {
        DbgPrint("storport: this stand-in serves virtual miniports only\n");
        return static_cast<ULONG>(STATUS_NOT_SUPPORTED);
    }
    check_virtual(record.hw);
    record.registry_path.assign(reinterpret_cast<const char16_t*>(path->Buffer),
                                path->Length / sizeof(WCHAR));
    {
        const std::unique_lock lock(registry_mutex);
        records.push_back(std::move(record));
    }
    driver->DriverUnload = driver_unload;
    driver->DriverExtension->AddDevice = add_device;
    driver->MajorFunction[IRP_MJ_CREATE] = dispatch_create;
    driver->MajorFunction[IRP_MJ_CLOSE] = dispatch_close;
    driver->MajorFunction[IRP_MJ_CLEANUP] = dispatch_cleanup;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatch_control;
    driver->MajorFunction[IRP_MJ_PNP] = dispatch_pnp;
    driver->MajorFunction[IRP_MJ_POWER] = dispatch_power;
    driver->MajorFunction[IRP_MJ_SYSTEM_CONTROL] = dispatch_system_control;
    return STATUS_SUCCESS;
}
