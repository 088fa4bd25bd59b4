// SPDX-License-Identifier: LGPL-2.1-or-later
// Storport's calls about the adapter as a whole. All come at PASSIVE_LEVEL, but for
// control_adapter, which does nothing that would mind.
#include <algorithm>
#include <new>

#include "driver/adapter_device.h"
#include "driver/entry_points.h"
#include "driver/log.h"

namespace wnbd::driver {

namespace {

// What one SRB may carry. Left open, Storport sends transfers of 32 MiB and more with a length of
// 0.
constexpr ULONG max_transfer_length = 2U << 20;
constexpr ULONG file_byte_alignment = 0;
constexpr UCHAR dma64_no_boundary = 3;  // SCSI_DMA64_MINIPORT_FULL64BIT_NO_BOUNDARY_REQ_SUPPORTED
/// A classic SRB's queue tag has eight bits.
constexpr ULONG max_requests_with_classic_srb = 255;

AdapterDevice& device_of(PVOID extension) noexcept {
    return *static_cast<AdapterDevice*>(extension);
}

void configure(PORT_CONFIGURATION_INFORMATION& config) noexcept {
    const engine::Options& options = driver().options;
    const auto per_adapter =
        static_cast<ULONG>(options.value(engine::OptionId::max_io_req_per_adapter));
    auto per_unit = static_cast<ULONG>(options.value(engine::OptionId::max_io_req_per_lun));
    per_unit = std::min(per_unit, per_adapter);
    if (config.SrbType == SRB_TYPE_SCSI_REQUEST_BLOCK)
        per_unit = std::min(per_unit, max_requests_with_classic_srb);

    config.VirtualDevice = TRUE;
    config.MaximumTransferLength = max_transfer_length;
    config.NumberOfPhysicalBreaks = SP_UNINITIALIZED_VALUE;
    config.AlignmentMask = file_byte_alignment;
    config.NumberOfBuses = 1;
    config.MaximumNumberOfTargets = engine::max_disks;
    config.MaximumNumberOfLogicalUnits = 1;
    config.ScatterGather = TRUE;
    config.Master = TRUE;
    config.CachesData = TRUE;  // so that FLUSH and SHUTDOWN reach the disks
    config.Dma64BitAddresses = dma64_no_boundary;
    config.WmiDataProvider = FALSE;
    config.SynchronizationModel = StorSynchronizeFullDuplex;
    config.MaxNumberOfIO = per_adapter;
    config.MaxIOsPerLun = per_unit;
    config.InitialLunQueueDepth = per_unit;
    config.FeatureSupport |= STOR_ADAPTER_FEATURE_ABORT_COMMAND;
}

/// Whether this memory holds an adapter that start() has begun and stop() has not ended.
bool is_started(PVOID extension) noexcept {
    for (unsigned i = 0;; ++i) {
        const AdapterReference adapter(driver().adapters.at(i));
        if (!adapter) return false;
        if (adapter->extension() == extension) return true;
    }
}

}  // namespace

// A virtual miniport is handed the adapter's PDO as context and the FDO as bus information.
ULONG find_adapter(PVOID extension, PVOID hw_context, PVOID bus_information, PVOID, PCHAR,
                   PPORT_CONFIGURATION_INFORMATION config, BOOLEAN* again) {
    if (again != nullptr) *again = FALSE;
    auto* const pdo = static_cast<PDEVICE_OBJECT>(hw_context);
    auto* const fdo = static_cast<PDEVICE_OBJECT>(bus_information);
    if (pdo == nullptr || fdo == nullptr || config == nullptr) return SP_RETURN_BAD_CONFIG;
    free_adapter_resources(extension);  // an adapter that is started anew without having been freed

    AdapterDevice& device = *::new (extension) AdapterDevice(fdo, pdo);
    const NTSTATUS status = device.start();
    if (!NT_SUCCESS(status)) {
        WNBD_LOG(error, "the adapter can't start: 0x%lx", static_cast<unsigned long>(status));
        device.~AdapterDevice();
        return SP_RETURN_ERROR;
    }
    configure(*config);
    device.control().set_max_requests(config->MaxIOsPerLun);
    WNBD_LOG(info, "adapter started: %lu requests, %lu per disk, SRB type %u",
             static_cast<unsigned long>(config->MaxNumberOfIO),
             static_cast<unsigned long>(config->MaxIOsPerLun), config->SrbType);
    return SP_RETURN_FOUND;
}

BOOLEAN initialize_adapter(PVOID extension) {
    AdapterDevice& device = device_of(extension);
    device.learn_port_number();
    device.enable_interface();
    return TRUE;
}

// There is no hardware to stop, restart or put to sleep. When an adapter stops, Storport has
// drained its units; SHUTDOWN and FLUSH go to those that still have a disk then.
SCSI_ADAPTER_CONTROL_STATUS control_adapter(PVOID, SCSI_ADAPTER_CONTROL_TYPE type,
                                            PVOID parameters) {
    switch (type) {
        case ScsiQuerySupportedControlTypes: {
            auto* const list = static_cast<SCSI_SUPPORTED_CONTROL_TYPE_LIST*>(parameters);
            constexpr SCSI_ADAPTER_CONTROL_TYPE supported[] = {ScsiQuerySupportedControlTypes,
                                                               ScsiStopAdapter, ScsiRestartAdapter};
            for (const SCSI_ADAPTER_CONTROL_TYPE each : supported)
                if (static_cast<ULONG>(each) < list->MaxControlType)
                    list->SupportedTypeList[each] = TRUE;
            return ScsiAdapterControlSuccess;
        }
        case ScsiStopAdapter:
        case ScsiRestartAdapter: return ScsiAdapterControlSuccess;
        default: return ScsiAdapterControlUnsuccessful;
    }
}

// The adapter is being removed: whoever waits in a service call has to leave.
VOID complete_service_irps(PVOID extension) {
    if (is_started(extension)) device_of(extension).end_service();
}

VOID free_adapter_resources(PVOID extension) {
    if (!is_started(extension)) return;
    AdapterDevice& device = device_of(extension);
    device.stop();
    device.~AdapterDevice();
    WNBD_LOG(info, "adapter gone");
}

}  // namespace wnbd::driver
