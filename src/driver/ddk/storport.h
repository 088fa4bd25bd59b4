// SPDX-License-Identifier: LGPL-2.1-or-later
// Storport's interface to a virtual miniport, x64, Windows 10 1809: what mingw's DDK does not have.
// Layouts and numbers only, under the names that the Windows documentation uses; each structure's
// size and the offsets that matter are asserted. Shared by wnbd.sys and by the lab's stand-in for
// storport.sys.
#pragma once

#include <cstddef>

#include "driver/ddk/kernel.h"
#include "driver/ddk/srb.h"

// return values, features, flags

inline constexpr ULONG STOR_STATUS_SUCCESS = 0;
inline constexpr ULONG STOR_STATUS_UNSUCCESSFUL = 0xC1000001;
inline constexpr ULONG STOR_STATUS_NOT_IMPLEMENTED = 0xC1000002;
inline constexpr ULONG STOR_STATUS_INSUFFICIENT_RESOURCES = 0xC1000003;
inline constexpr ULONG STOR_STATUS_BUFFER_TOO_SMALL = 0xC1000004;
inline constexpr ULONG STOR_STATUS_ACCESS_DENIED = 0xC1000005;
inline constexpr ULONG STOR_STATUS_INVALID_PARAMETER = 0xC1000006;
inline constexpr ULONG STOR_STATUS_INVALID_DEVICE_REQUEST = 0xC1000007;
inline constexpr ULONG STOR_STATUS_INVALID_IRQL = 0xC1000008;
inline constexpr ULONG STOR_STATUS_INVALID_DEVICE_STATE = 0xC1000009;

inline constexpr ULONG SP_RETURN_NOT_FOUND = 0;
inline constexpr ULONG SP_RETURN_FOUND = 1;
inline constexpr ULONG SP_RETURN_ERROR = 2;
inline constexpr ULONG SP_RETURN_BAD_CONFIG = 3;
inline constexpr ULONG SP_UNINITIALIZED_VALUE = 0xFFFFFFFF;
inline constexpr UCHAR SP_UNTAGGED = 0xFF;

inline constexpr UCHAR STOR_MAP_NO_BUFFERS = 0;
inline constexpr UCHAR STOR_MAP_ALL_BUFFERS = 1;
inline constexpr UCHAR STOR_MAP_NON_READ_WRITE_BUFFERS = 2;
inline constexpr UCHAR STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE = 3;

/// HW_INITIALIZATION_DATA::FeatureSupport.
inline constexpr ULONG STOR_FEATURE_VIRTUAL_MINIPORT = 0x1;
inline constexpr ULONG STOR_FEATURE_ATA_PASS_THROUGH = 0x2;
inline constexpr ULONG STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES = 0x4;
inline constexpr ULONG STOR_FEATURE_DUMP_POINTERS = 0x8;
inline constexpr ULONG STOR_FEATURE_DEVICE_NAME_NO_SUFFIX = 0x10;
inline constexpr ULONG STOR_FEATURE_ADAPTER_NOT_REQUIRE_IO_PORT = 0x200;
/// PORT_CONFIGURATION_INFORMATION::FeatureSupport.
inline constexpr ULONG STOR_ADAPTER_FEATURE_ABORT_COMMAND = 0x10;

/// FILE_DEVICE_CONTROLLER, function 0x40E, buffered, read and write access: the reverse-callback
/// ioctl.
inline constexpr ULONG IOCTL_MINIPORT_PROCESS_SERVICE_IRP = 0x0004D038;

// enumerations

enum SCSI_NOTIFICATION_TYPE : int {
    RequestComplete = 0,
    NextRequest = 1,
    NextLuRequest = 2,
    ResetDetected = 3,
    RequestTimerCall = 6,
    BusChangeDetected = 7,
    WMIEvent = 8,
    WMIReregister = 9,
    LinkUp = 10,
    LinkDown = 11,
    QueryTickCount = 12,
    BufferOverrunDetected = 13,
    EnablePassiveInitialization = 0x1000,
    InitializeDpc = 0x1001,
    IssueDpc = 0x1002,
    AcquireSpinLock = 0x1003,
    ReleaseSpinLock = 0x1004,
    StateChangeDetectedCall = 0x1005,
    IoTargetRequestServiceTime = 0x1006,
    AsyncNotificationDetected = 0x1007,
    RequestDirectComplete = 0x1008,
};

enum STORPORT_FUNCTION_CODE : int {
    ExtFunctionAllocatePool = 0,
    ExtFunctionFreePool = 1,
    ExtFunctionAllocateMdl = 2,
    ExtFunctionFreeMdl = 3,
    ExtFunctionBuildMdlForNonPagedPool = 4,
    ExtFunctionGetSystemAddress = 5,
    ExtFunctionGetOriginalMdl = 6,
    ExtFunctionCompleteServiceIrp = 7,
    ExtFunctionGetDeviceObjects = 8,
    ExtFunctionGetCurrentProcessorNumber = 17,
    ExtFunctionGetActiveGroupCount = 18,
    ExtFunctionGetGroupAffinity = 19,
    ExtFunctionGetActiveNodeCount = 20,
    ExtFunctionGetNodeAffinity = 21,
    ExtFunctionGetHighestNodeNumber = 22,
    ExtFunctionInitializeWorker = 29,
    ExtFunctionQueueWorkItem = 30,
    ExtFunctionFreeWorker = 31,
    ExtFunctionInitializeTimer = 32,
    ExtFunctionRequestTimer = 33,
    ExtFunctionFreeTimer = 34,
    ExtFunctionGetActivityIdSrb = 40,
    ExtFunctionGetSystemPortNumber = 41,
    ExtFunctionSetUnitAttributes = 46,
    ExtFunctionQueryPerformanceCounter = 47,
    ExtFunctionSetAdapterBusType = 64,
    ExtFunctionUpdateAdapterMaxIO = 80,
    ExtFunctionDelayExecution = 81,
    ExtFunctionUpdatePortConfigMaxIOInfo = 84,
    ExtFunctionGetCurrentProcessorIndex = 92,
    ExtFunctionGetProcessorCount = 94,
    ExtFunctionGetCurrentIrql = 109,
};

enum SCSI_ADAPTER_CONTROL_TYPE : int {
    ScsiQuerySupportedControlTypes = 0,
    ScsiStopAdapter = 1,
    ScsiRestartAdapter = 2,
    ScsiAdapterPower = 6,
    ScsiAdapterPrepareForBusReScan = 11,
    ScsiAdapterSurpriseRemoval = 16,
    /// Number of types that 1809 knows; what a miniport may write into its list ends before it.
    ScsiAdapterControlMax1809 = 19,
};
enum SCSI_ADAPTER_CONTROL_STATUS : int {
    ScsiAdapterControlSuccess = 0,
    ScsiAdapterControlUnsuccessful = 1
};

enum SCSI_UNIT_CONTROL_TYPE : int {
    ScsiQuerySupportedUnitControlTypes = 0,
    ScsiUnitUsage = 1,
    ScsiUnitStart = 2,
    ScsiUnitPower = 3,
    ScsiUnitRemove = 9,
    ScsiUnitSurpriseRemoval = 10,
    ScsiUnitRichDescription = 11,
    ScsiUnitControlMax1809 = 12,
};
enum SCSI_UNIT_CONTROL_STATUS : int { ScsiUnitControlSuccess = 0, ScsiUnitControlUnsuccessful = 1 };

enum STOR_SYNCHRONIZATION_MODEL : int {
    StorSynchronizeHalfDuplex = 0,
    StorSynchronizeFullDuplex = 1
};

struct SCSI_SUPPORTED_CONTROL_TYPE_LIST {
    ULONG MaxControlType;
    BOOLEAN SupportedTypeList[1];
};
static_assert(offsetof(SCSI_SUPPORTED_CONTROL_TYPE_LIST, SupportedTypeList) == 4);

// adapter

struct PORT_CONFIGURATION_INFORMATION {
    ULONG Length;
    ULONG SystemIoBusNumber;
    INTERFACE_TYPE AdapterInterfaceType;
    ULONG BusInterruptLevel;
    ULONG BusInterruptVector;
    ULONG InterruptMode;
    ULONG MaximumTransferLength;
    ULONG NumberOfPhysicalBreaks;
    ULONG DmaChannel;
    ULONG DmaPort;
    ULONG DmaWidth;
    ULONG DmaSpeed;
    ULONG AlignmentMask;
    ULONG NumberOfAccessRanges;
    PVOID AccessRanges;
    PVOID MiniportDumpData;
    UCHAR NumberOfBuses;
    CCHAR InitiatorBusId[8];
    BOOLEAN ScatterGather;
    BOOLEAN Master;
    BOOLEAN CachesData;
    BOOLEAN AdapterScansDown;
    BOOLEAN AtdiskPrimaryClaimed;
    BOOLEAN AtdiskSecondaryClaimed;
    BOOLEAN Dma32BitAddresses;
    BOOLEAN DemandMode;
    UCHAR MapBuffers;
    BOOLEAN NeedPhysicalAddresses;
    BOOLEAN TaggedQueuing;
    BOOLEAN AutoRequestSense;
    BOOLEAN MultipleRequestPerLu;
    BOOLEAN ReceiveEvent;
    BOOLEAN RealModeInitialized;
    BOOLEAN BufferAccessScsiPortControlled;
    UCHAR MaximumNumberOfTargets;
    UCHAR SrbType;
    UCHAR AddressType;
    ULONG SlotNumber;
    ULONG BusInterruptLevel2;
    ULONG BusInterruptVector2;
    ULONG InterruptMode2;
    ULONG DmaChannel2;
    ULONG DmaPort2;
    ULONG DmaWidth2;
    ULONG DmaSpeed2;
    ULONG DeviceExtensionSize;
    ULONG SpecificLuExtensionSize;
    ULONG SrbExtensionSize;
    UCHAR Dma64BitAddresses;
    BOOLEAN ResetTargetSupported;
    UCHAR MaximumNumberOfLogicalUnits;
    BOOLEAN WmiDataProvider;
    STOR_SYNCHRONIZATION_MODEL SynchronizationModel;
    PVOID HwMSInterruptRoutine;
    ULONG InterruptSynchronizationMode;
    PVOID DumpRegionVirtualBase;
    PHYSICAL_ADDRESS DumpRegionPhysicalBase;
    ULONG DumpRegionLength;
    ULONG DumpRegionPadding;
    ULONG RequestedDumpBufferSize;
    BOOLEAN VirtualDevice;
    UCHAR DumpMode;
    ULONG ExtendedFlags1;
    ULONG MaxNumberOfIO;
    ULONG MaxIOsPerLun;
    ULONG InitialLunQueueDepth;
    ULONG BusResetHoldTime;
    ULONG FeatureSupport;
};
using PPORT_CONFIGURATION_INFORMATION = PORT_CONFIGURATION_INFORMATION*;
static_assert(sizeof(PORT_CONFIGURATION_INFORMATION) == 224);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, MaximumTransferLength) == 24);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, NumberOfBuses) == 72);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, ScatterGather) == 81);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, MaximumNumberOfTargets) == 97);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, SrbType) == 98);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, SrbExtensionSize) == 140);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, MaximumNumberOfLogicalUnits) == 146);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, SynchronizationModel) == 148);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, DumpRegionVirtualBase) == 168);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, RequestedDumpBufferSize) == 192);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, VirtualDevice) == 196);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, MaxNumberOfIO) == 204);
static_assert(offsetof(PORT_CONFIGURATION_INFORMATION, FeatureSupport) == 220);

using PHW_INITIALIZE = BOOLEAN (*)(PVOID device_extension);
using PHW_STARTIO = BOOLEAN (*)(PVOID device_extension, PSCSI_REQUEST_BLOCK srb);
/// The virtual miniport's seven arguments; a physical one has six.
using PVIRTUAL_HW_FIND_ADAPTER = ULONG (*)(PVOID device_extension, PVOID hw_context,
                                           PVOID bus_information, PVOID lower_device,
                                           PCHAR argument_string,
                                           PPORT_CONFIGURATION_INFORMATION config, BOOLEAN* again);
using PHW_RESET_BUS = BOOLEAN (*)(PVOID device_extension, ULONG path_id);
using PHW_ADAPTER_CONTROL = SCSI_ADAPTER_CONTROL_STATUS (*)(PVOID device_extension,
                                                            SCSI_ADAPTER_CONTROL_TYPE type,
                                                            PVOID parameters);
using PHW_UNIT_CONTROL = SCSI_UNIT_CONTROL_STATUS (*)(PVOID device_extension,
                                                      SCSI_UNIT_CONTROL_TYPE type,
                                                      PVOID parameters);
using PHW_FREE_ADAPTER_RESOURCES = VOID (*)(PVOID device_extension);
using PHW_PROCESS_SERVICE_REQUEST = VOID (*)(PVOID device_extension, PVOID irp);
using PHW_COMPLETE_SERVICE_IRP = VOID (*)(PVOID device_extension);
using PHW_INITIALIZE_TRACING = VOID (*)(PVOID driver_object, PVOID registry_path);
using PHW_CLEANUP_TRACING = VOID (*)(PVOID driver_object);
using PHW_TRACING_ENABLED = VOID (*)(PVOID device_extension, BOOLEAN enabled);
using PHW_TIMER = VOID (*)(PVOID device_extension);
using PHW_TIMER_EX = VOID (*)(PVOID device_extension, PVOID context);
using PHW_WORKITEM = VOID (*)(PVOID device_extension, PVOID context, PVOID worker);
using PHW_STATE_CHANGE = VOID (*)(PVOID device_extension, PVOID context, SHORT address_type,
                                  PVOID address, ULONG status);
using PHW_PASSIVE_INITIALIZE_ROUTINE = BOOLEAN (*)(PVOID device_extension);

struct HW_INITIALIZATION_DATA {
    ULONG HwInitializationDataSize;
    INTERFACE_TYPE AdapterInterfaceType;
    PHW_INITIALIZE HwInitialize;
    PHW_STARTIO HwStartIo;
    PVOID HwInterrupt;
    PVOID HwFindAdapter;
    PHW_RESET_BUS HwResetBus;
    PVOID HwDmaStarted;
    PVOID HwAdapterState;
    ULONG DeviceExtensionSize;
    ULONG SpecificLuExtensionSize;
    ULONG SrbExtensionSize;
    ULONG NumberOfAccessRanges;
    PVOID Reserved;
    UCHAR MapBuffers;
    BOOLEAN NeedPhysicalAddresses;
    BOOLEAN TaggedQueuing;
    BOOLEAN AutoRequestSense;
    BOOLEAN MultipleRequestPerLu;
    BOOLEAN ReceiveEvent;
    USHORT VendorIdLength;
    PVOID VendorId;
    USHORT PortVersionFlags;
    USHORT DeviceIdLength;
    PVOID DeviceId;
    PHW_ADAPTER_CONTROL HwAdapterControl;
    PVOID HwBuildIo;
    PHW_FREE_ADAPTER_RESOURCES HwFreeAdapterResources;
    PHW_PROCESS_SERVICE_REQUEST HwProcessServiceRequest;
    PHW_COMPLETE_SERVICE_IRP HwCompleteServiceIrp;
    PHW_INITIALIZE_TRACING HwInitializeTracing;
    PHW_CLEANUP_TRACING HwCleanupTracing;
    PHW_TRACING_ENABLED HwTracingEnabled;
    ULONG FeatureSupport;
    ULONG SrbTypeFlags;
    ULONG AddressTypeFlags;
    ULONG Reserved1;
    PHW_UNIT_CONTROL HwUnitControl;
};
static_assert(sizeof(HW_INITIALIZATION_DATA) == 208);
static_assert(offsetof(HW_INITIALIZATION_DATA, HwFindAdapter) == 32);
static_assert(offsetof(HW_INITIALIZATION_DATA, DeviceExtensionSize) == 64);
static_assert(offsetof(HW_INITIALIZATION_DATA, MapBuffers) == 88);
static_assert(offsetof(HW_INITIALIZATION_DATA, HwAdapterControl) == 120);
static_assert(offsetof(HW_INITIALIZATION_DATA, HwProcessServiceRequest) == 144);
static_assert(offsetof(HW_INITIALIZATION_DATA, FeatureSupport) == 184);
static_assert(offsetof(HW_INITIALIZATION_DATA, HwUnitControl) == 200);

// imports

// The stand-in defines these itself: it defines WNBD_STORPORT_IMPLEMENTATION before it includes
// this file.
#if defined(WNBD_STORPORT_IMPLEMENTATION)
#define WNBD_STORPORT_API
#else
#define WNBD_STORPORT_API __declspec(dllimport)
#endif

extern "C" {
WNBD_STORPORT_API ULONG NTAPI StorPortInitialize(PVOID driver_object, PVOID registry_path,
                                                 HW_INITIALIZATION_DATA* data, PVOID hw_context);
/// Variadic: pass exactly the widths that the type asks for, nothing is extended on the stack.
WNBD_STORPORT_API VOID StorPortNotification(SCSI_NOTIFICATION_TYPE type, PVOID device_extension,
                                            ...);
WNBD_STORPORT_API ULONG StorPortExtendedFunction(STORPORT_FUNCTION_CODE code,
                                                 PVOID device_extension, ...);
WNBD_STORPORT_API VOID NTAPI StorPortCompleteRequest(PVOID device_extension, UCHAR path,
                                                     UCHAR target, UCHAR lun, UCHAR srb_status);
WNBD_STORPORT_API BOOLEAN NTAPI StorPortSetDeviceQueueDepth(PVOID device_extension, UCHAR path,
                                                            UCHAR target, UCHAR lun, ULONG depth);
}
