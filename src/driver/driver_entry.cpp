// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver comes and goes.
#include <new>

#include "driver/adapter_device.h"
#include "driver/driver.h"
#include "driver/entry_points.h"
#include "driver/log.h"
#include "driver/storport_port.h"
#include "version.h"

namespace wnbd::driver {

alignas(Driver) constinit std::byte driver_storage[sizeof(Driver)] = {};

namespace {

HW_INITIALIZATION_DATA initialization_data() noexcept {
    HW_INITIALIZATION_DATA data{};
    data.HwInitializationDataSize = sizeof data;
    data.AdapterInterfaceType = Internal;
    data.HwInitialize = initialize_adapter;
    data.HwStartIo = start_io;
    data.HwFindAdapter = reinterpret_cast<PVOID>(&find_adapter);
    data.HwResetBus = reset_bus;
    data.HwAdapterControl = control_adapter;
    data.HwFreeAdapterResources = free_adapter_resources;
    data.HwProcessServiceRequest = process_service_request;
    data.HwCompleteServiceIrp = complete_service_irps;
    data.DeviceExtensionSize = sizeof(AdapterDevice);
    data.SrbExtensionSize = sizeof(SrbExtension);
    data.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    data.TaggedQueuing = TRUE;
    data.AutoRequestSense = TRUE;
    data.MultipleRequestPerLu = TRUE;
    data.FeatureSupport = STOR_FEATURE_VIRTUAL_MINIPORT |
                          STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES |
                          STOR_FEATURE_ADAPTER_NOT_REQUIRE_IO_PORT;
    data.SrbTypeFlags = SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK | SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK;
    data.AddressTypeFlags = ADDRESS_TYPE_FLAG_BTL8;
    return data;
}

/// Storport has filled the driver object; we stand in front of four of its entries.
void install_hooks(Driver& self) noexcept {
    self.storport_unload = self.object->DriverUnload;
    self.storport_pnp = self.object->MajorFunction[IRP_MJ_PNP];
    self.storport_cleanup = self.object->MajorFunction[IRP_MJ_CLEANUP];
    self.storport_close = self.object->MajorFunction[IRP_MJ_CLOSE];
    self.object->MajorFunction[IRP_MJ_PNP] = dispatch_pnp;
    self.object->MajorFunction[IRP_MJ_CLEANUP] = dispatch_cleanup;
    self.object->MajorFunction[IRP_MJ_CLOSE] = dispatch_close;
}

VOID NTAPI unload(PDRIVER_OBJECT object) {
    Driver& self = driver();
    if (self.storport_unload != nullptr) self.storport_unload(object);
    WNBD_LOG(info, "unloaded");
    close_log();
    self.store.close();
    self.~Driver();
}

}  // namespace

}  // namespace wnbd::driver

extern "C" [[gnu::section("INIT")]] NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT object,
                                                               PUNICODE_STRING registry_path) {
    using namespace wnbd::driver;
    Driver& self = *::new (static_cast<void*>(driver_storage)) Driver;
    self.object = object;
    self.store.open(object);
    // First, for a stored value that cannot be taken is told of while the options are loaded.
    const LogOpening log = open_log();
    self.options.initialize(self.store);
    tell_faults(log);
    if (!NT_SUCCESS(self.store.status()))
        WNBD_LOG(warning, "options keep their defaults: no persistent-state key: 0x%lx",
                 static_cast<unsigned long>(self.store.status()));

    HW_INITIALIZATION_DATA data = initialization_data();
    const auto status =
        static_cast<NTSTATUS>(StorPortInitialize(object, registry_path, &data, nullptr));
    if (!NT_SUCCESS(status)) {
        WNBD_LOG(error, "StorPortInitialize: 0x%lx", static_cast<unsigned long>(status));
        close_log();
        self.store.close();
        return status;
    }
    install_hooks(self);
    object->DriverUnload = unload;
    WNBD_LOG(info, "version %s", WNBD_VERSION_STR);
    return status;
}
