// SPDX-License-Identifier: LGPL-2.1-or-later
// Everything that Storport and the I/O manager call, besides DriverEntry.
#pragma once

#include "driver/ddk/storport.h"

namespace wnbd::driver {

// adapter_entry.cpp
ULONG find_adapter(PVOID extension, PVOID hw_context, PVOID bus_information, PVOID lower_device,
                   PCHAR argument_string, PPORT_CONFIGURATION_INFORMATION config, BOOLEAN* again);
BOOLEAN initialize_adapter(PVOID extension);
SCSI_ADAPTER_CONTROL_STATUS control_adapter(PVOID extension, SCSI_ADAPTER_CONTROL_TYPE type,
                                            PVOID parameters);
VOID complete_service_irps(PVOID extension);
VOID free_adapter_resources(PVOID extension);

// start_io.cpp
BOOLEAN start_io(PVOID extension, PSCSI_REQUEST_BLOCK srb);
BOOLEAN reset_bus(PVOID extension, ULONG path);

// service_request.cpp
VOID process_service_request(PVOID extension, PVOID irp);

// dispatch_pnp.cpp
NTSTATUS NTAPI dispatch_pnp(PDEVICE_OBJECT device, PIRP irp);

// dispatch_close.cpp
NTSTATUS NTAPI dispatch_cleanup(PDEVICE_OBJECT device, PIRP irp);
NTSTATUS NTAPI dispatch_close(PDEVICE_OBJECT device, PIRP irp);

}  // namespace wnbd::driver
