// SPDX-License-Identifier: LGPL-2.1-or-later
// SCSI requests as Storport hands them to a miniport, x64, in both forms: the classic
// SCSI_REQUEST_BLOCK and the extended STORAGE_REQUEST_BLOCK. Layouts and numbers only, under the
// names of the Windows documentation; sizes and the offsets that matter are asserted.
#pragma once

#include <cstddef>

#if defined(_WIN32)
#include "driver/ddk/kernel.h"
#else
// Native tests of what reads SRBs: the same layouts.
#include "base/windows_types.h"
using UCHAR = unsigned char;
#endif

inline constexpr ULONG SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK = 1;
inline constexpr ULONG SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK = 2;
inline constexpr UCHAR SRB_TYPE_SCSI_REQUEST_BLOCK = 0;
inline constexpr UCHAR SRB_TYPE_STORAGE_REQUEST_BLOCK = 1;
inline constexpr ULONG ADDRESS_TYPE_FLAG_BTL8 = 1;
/// The adapter's address type and the type within an SRB's STOR_ADDRESS count differently.
inline constexpr UCHAR STORAGE_ADDRESS_TYPE_BTL8 = 0;
inline constexpr USHORT STOR_ADDRESS_TYPE_BTL8 = 1;
inline constexpr ULONG STOR_ADDR_BTL8_ADDRESS_LENGTH = 4;

inline constexpr UCHAR SRB_FUNCTION_EXECUTE_SCSI = 0x00;
inline constexpr UCHAR SRB_FUNCTION_IO_CONTROL = 0x02;
inline constexpr UCHAR SRB_FUNCTION_SHUTDOWN = 0x07;
inline constexpr UCHAR SRB_FUNCTION_FLUSH = 0x08;
inline constexpr UCHAR SRB_FUNCTION_ABORT_COMMAND = 0x10;
inline constexpr UCHAR SRB_FUNCTION_RESET_BUS = 0x12;
inline constexpr UCHAR SRB_FUNCTION_RESET_DEVICE = 0x13;
inline constexpr UCHAR SRB_FUNCTION_WMI = 0x17;
inline constexpr UCHAR SRB_FUNCTION_RESET_LOGICAL_UNIT = 0x20;
inline constexpr UCHAR SRB_FUNCTION_POWER = 0x24;
inline constexpr UCHAR SRB_FUNCTION_PNP = 0x25;
inline constexpr UCHAR SRB_FUNCTION_DUMP_POINTERS = 0x26;
inline constexpr UCHAR SRB_FUNCTION_FREE_DUMP_POINTERS = 0x27;
inline constexpr UCHAR SRB_FUNCTION_STORAGE_REQUEST_BLOCK = 0x28;

inline constexpr UCHAR SRB_STATUS_PENDING = 0x00;
inline constexpr UCHAR SRB_STATUS_SUCCESS = 0x01;
inline constexpr UCHAR SRB_STATUS_ABORTED = 0x02;
inline constexpr UCHAR SRB_STATUS_ABORT_FAILED = 0x03;
inline constexpr UCHAR SRB_STATUS_ERROR = 0x04;
inline constexpr UCHAR SRB_STATUS_BUSY = 0x05;
inline constexpr UCHAR SRB_STATUS_INVALID_REQUEST = 0x06;
inline constexpr UCHAR SRB_STATUS_INVALID_PATH_ID = 0x07;
inline constexpr UCHAR SRB_STATUS_NO_DEVICE = 0x08;
inline constexpr UCHAR SRB_STATUS_TIMEOUT = 0x09;
inline constexpr UCHAR SRB_STATUS_SELECTION_TIMEOUT = 0x0A;
inline constexpr UCHAR SRB_STATUS_BUS_RESET = 0x0E;
inline constexpr UCHAR SRB_STATUS_NO_HBA = 0x11;
inline constexpr UCHAR SRB_STATUS_DATA_OVERRUN = 0x12;
inline constexpr UCHAR SRB_STATUS_REQUEST_FLUSHED = 0x16;
inline constexpr UCHAR SRB_STATUS_INVALID_LUN = 0x20;
inline constexpr UCHAR SRB_STATUS_INVALID_TARGET_ID = 0x21;
inline constexpr UCHAR SRB_STATUS_BAD_FUNCTION = 0x22;
inline constexpr UCHAR SRB_STATUS_INTERNAL_ERROR = 0x30;
inline constexpr UCHAR SRB_STATUS_QUEUE_FROZEN = 0x40;
inline constexpr UCHAR SRB_STATUS_AUTOSENSE_VALID = 0x80;
/// The status proper, without the two flag bits above.
inline constexpr UCHAR SRB_STATUS_MASK = 0x3F;

inline constexpr ULONG SRB_FLAGS_QUEUE_ACTION_ENABLE = 0x00000002;
inline constexpr ULONG SRB_FLAGS_DISABLE_AUTOSENSE = 0x00000020;
inline constexpr ULONG SRB_FLAGS_DATA_IN = 0x00000040;
inline constexpr ULONG SRB_FLAGS_DATA_OUT = 0x00000080;
inline constexpr ULONG SRB_FLAGS_NO_QUEUE_FREEZE = 0x00000100;
inline constexpr ULONG SRB_FLAGS_IS_ACTIVE = 0x00010000;
inline constexpr ULONG SRB_PNP_FLAGS_ADAPTER_REQUEST = 1;

inline constexpr UCHAR SRB_SIMPLE_TAG_REQUEST = 0x20;
inline constexpr UCHAR SRB_HEAD_OF_QUEUE_TAG_REQUEST = 0x21;
inline constexpr UCHAR SRB_ORDERED_QUEUE_TAG_REQUEST = 0x22;

inline constexpr UCHAR SCSISTAT_GOOD = 0x00;
inline constexpr UCHAR SCSISTAT_CHECK_CONDITION = 0x02;
inline constexpr UCHAR SCSISTAT_CONDITION_MET = 0x04;
inline constexpr UCHAR SCSISTAT_BUSY = 0x08;
inline constexpr UCHAR SCSISTAT_RESERVATION_CONFLICT = 0x18;
inline constexpr UCHAR SCSISTAT_QUEUE_FULL = 0x28;

enum STOR_PNP_ACTION : int {
    StorStartDevice = 0x00,
    StorRemoveDevice = 0x02,
    StorStopDevice = 0x04,
    StorQueryCapabilities = 0x09,
    StorQueryResourceRequirements = 0x0B,
    StorFilterResourceRequirements = 0x0D,
    StorSurpriseRemoval = 0x17,
};

enum STOR_DEVICE_POWER_STATE : int {
    StorPowerDeviceUnspecified = 0,
    StorPowerDeviceD0 = 1,
    StorPowerDeviceD1 = 2,
    StorPowerDeviceD2 = 3,
    StorPowerDeviceD3 = 4,
};

enum STOR_POWER_ACTION : int {
    StorPowerActionNone = 0,
    StorPowerActionSleep = 2,
    StorPowerActionHibernate = 3,
    StorPowerActionShutdown = 4,
    StorPowerActionShutdownReset = 5,
    StorPowerActionShutdownOff = 6,
    StorPowerActionWarmEject = 7,
};

enum SRBEXDATATYPE : ULONG {
    SrbExDataTypeUnknown = 0,
    SrbExDataTypeBidirectional = 1,
    SrbExDataTypeScsiCdb16 = 64,
    SrbExDataTypeScsiCdb32 = 65,
    SrbExDataTypeScsiCdbVar = 66,
    SrbExDataTypeWmi = 96,
    SrbExDataTypePower = 97,
    SrbExDataTypePnP = 98,
    SrbExDataTypeIoInfo = 128,
};

// SRBs

struct SCSI_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR ScsiStatus;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    UCHAR QueueTag;
    UCHAR QueueAction;
    UCHAR CdbLength;
    UCHAR SenseInfoBufferLength;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    SCSI_REQUEST_BLOCK* NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    union {
        ULONG InternalStatus;
        ULONG QueueSortKey;
        ULONG LinkTimeoutValue;
    };
    ULONG Reserved;
    UCHAR Cdb[16];
};
using PSCSI_REQUEST_BLOCK = SCSI_REQUEST_BLOCK*;
static_assert(sizeof(SCSI_REQUEST_BLOCK) == 88);
static_assert(offsetof(SCSI_REQUEST_BLOCK, SrbFlags) == 12);
static_assert(offsetof(SCSI_REQUEST_BLOCK, DataBuffer) == 24);
static_assert(offsetof(SCSI_REQUEST_BLOCK, SrbExtension) == 56);
static_assert(offsetof(SCSI_REQUEST_BLOCK, Cdb) == 72);

struct STOR_ADDRESS {
    alignas(8) USHORT Type;
    USHORT Port;
    ULONG AddressLength;
    UCHAR AddressData[1];
};
static_assert(sizeof(STOR_ADDRESS) == 16 && offsetof(STOR_ADDRESS, AddressData) == 8);

struct STOR_ADDR_BTL8 {
    alignas(8) USHORT Type;
    USHORT Port;
    ULONG AddressLength;
    UCHAR Path;
    UCHAR Target;
    UCHAR Lun;
    UCHAR Reserved;
};
static_assert(sizeof(STOR_ADDR_BTL8) == 16 && offsetof(STOR_ADDR_BTL8, Path) == 8);

struct SRBEX_DATA {
    SRBEXDATATYPE Type;
    ULONG Length;
};
/// Bytes of a block's head, which its Length does not count.
inline constexpr ULONG SRBEX_DATA_HEADER_LENGTH = 8;

struct SRBEX_DATA_SCSI_CDB16 {
    alignas(8) SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR CdbLength;
    UCHAR Reserved;
    ULONG Reserved1;
    PVOID SenseInfoBuffer;
    UCHAR Cdb[16];
};
static_assert(sizeof(SRBEX_DATA_SCSI_CDB16) == 40 && offsetof(SRBEX_DATA_SCSI_CDB16, Cdb) == 24);

struct SRBEX_DATA_SCSI_CDB32 {
    alignas(8) SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR CdbLength;
    UCHAR Reserved;
    ULONG Reserved1;
    PVOID SenseInfoBuffer;
    UCHAR Cdb[32];
};
static_assert(sizeof(SRBEX_DATA_SCSI_CDB32) == 56 && offsetof(SRBEX_DATA_SCSI_CDB32, Cdb) == 24);

struct SRBEX_DATA_SCSI_CDB_VAR {
    alignas(8) SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR ScsiStatus;
    UCHAR SenseInfoBufferLength;
    UCHAR Reserved[2];
    ULONG CdbLength;
    ULONG Reserved1[2];
    PVOID SenseInfoBuffer;
    UCHAR Cdb[1];
};
static_assert(sizeof(SRBEX_DATA_SCSI_CDB_VAR) == 40 &&
              offsetof(SRBEX_DATA_SCSI_CDB_VAR, Cdb) == 32);

struct SRBEX_DATA_PNP {
    alignas(8) SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR PnPSubFunction;
    UCHAR Reserved[3];
    STOR_PNP_ACTION PnPAction;
    ULONG SrbPnPFlags;
    ULONG Reserved1;
};
static_assert(sizeof(SRBEX_DATA_PNP) == 24 && offsetof(SRBEX_DATA_PNP, PnPAction) == 12);

struct SRBEX_DATA_POWER {
    alignas(8) SRBEXDATATYPE Type;
    ULONG Length;
    UCHAR SrbPowerFlags;
    UCHAR Reserved[3];
    STOR_DEVICE_POWER_STATE DevicePowerState;
    STOR_POWER_ACTION PowerAction;
};
static_assert(sizeof(SRBEX_DATA_POWER) == 24);

struct STORAGE_REQUEST_BLOCK {
    alignas(8) USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR ReservedUchar[4];
    ULONG Signature;
    ULONG Version;
    ULONG SrbLength;
    ULONG SrbFunction;
    ULONG SrbFlags;
    ULONG ReservedUlong;
    ULONG RequestTag;
    USHORT RequestPriority;
    USHORT RequestAttribute;
    ULONG TimeOutValue;
    ULONG SystemStatus;
    ULONG ZeroGuard1;
    ULONG AddressOffset;
    ULONG NumSrbExData;
    ULONG DataTransferLength;
    PVOID DataBuffer;
    PVOID ZeroGuard2;
    PVOID OriginalRequest;
    PVOID ClassContext;
    PVOID PortContext;
    PVOID MiniportContext;
    STORAGE_REQUEST_BLOCK* NextSrb;
    ULONG SrbExDataOffset[1];
};
using PSTORAGE_REQUEST_BLOCK = STORAGE_REQUEST_BLOCK*;
inline constexpr ULONG SRB_SIGNATURE = 0x53524258;
inline constexpr ULONG STORAGE_REQUEST_BLOCK_VERSION_1 = 1;
static_assert(sizeof(STORAGE_REQUEST_BLOCK) == 128);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, SrbFunction) == 20);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, RequestAttribute) == 38);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, AddressOffset) == 52);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, DataTransferLength) == 60);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, MiniportContext) == 104);
static_assert(offsetof(STORAGE_REQUEST_BLOCK, SrbExDataOffset) == 120);

struct SCSI_PNP_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR PnPSubFunction;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    STOR_PNP_ACTION PnPAction;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    SCSI_REQUEST_BLOCK* NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    ULONG SrbPnPFlags;
    ULONG Reserved;
    UCHAR Reserved4[16];
};
static_assert(sizeof(SCSI_PNP_REQUEST_BLOCK) == 88 &&
              offsetof(SCSI_PNP_REQUEST_BLOCK, SrbPnPFlags) == 64);

struct SCSI_POWER_REQUEST_BLOCK {
    USHORT Length;
    UCHAR Function;
    UCHAR SrbStatus;
    UCHAR SrbPowerFlags;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
    STOR_DEVICE_POWER_STATE DevicePowerState;
    ULONG SrbFlags;
    ULONG DataTransferLength;
    ULONG TimeOutValue;
    PVOID DataBuffer;
    PVOID SenseInfoBuffer;
    SCSI_REQUEST_BLOCK* NextSrb;
    PVOID OriginalRequest;
    PVOID SrbExtension;
    STOR_POWER_ACTION PowerAction;
    ULONG Reserved;
    UCHAR Reserved5[16];
};
static_assert(sizeof(SCSI_POWER_REQUEST_BLOCK) == 88);

/// StorQueryCapabilities without the FULL_PNP feature; bits of the word: see the constants below.
struct STOR_DEVICE_CAPABILITIES {
    USHORT Version;
    ULONG Bits;
};
static_assert(sizeof(STOR_DEVICE_CAPABILITIES) == 8);
inline constexpr ULONG STOR_CAPABILITY_LOCK_SUPPORTED = 1U << 2;
inline constexpr ULONG STOR_CAPABILITY_EJECT_SUPPORTED = 1U << 3;
inline constexpr ULONG STOR_CAPABILITY_REMOVABLE = 1U << 4;
inline constexpr ULONG STOR_CAPABILITY_UNIQUE_ID = 1U << 6;
inline constexpr ULONG STOR_CAPABILITY_SILENT_INSTALL = 1U << 7;
inline constexpr ULONG STOR_CAPABILITY_SURPRISE_REMOVAL_OK = 1U << 8;
inline constexpr ULONG STOR_CAPABILITY_NO_DISPLAY_IN_UI = 1U << 9;

/// The same with STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES: bits above 7 stand one place higher.
struct STOR_DEVICE_CAPABILITIES_EX {
    USHORT Version;
    USHORT Size;
    ULONG Bits;
    ULONG Address;
    ULONG UINumber;
    ULONG Reserved1[2];
};
static_assert(sizeof(STOR_DEVICE_CAPABILITIES_EX) == 24);
inline constexpr ULONG STOR_CAPABILITY_EX_RAW_DEVICE_OK = 1U << 8;
inline constexpr ULONG STOR_CAPABILITY_EX_SURPRISE_REMOVAL_OK = 1U << 9;
inline constexpr ULONG STOR_CAPABILITY_EX_NO_DISPLAY_IN_UI = 1U << 10;
inline constexpr ULONG STOR_CAPABILITY_EX_DEFAULT_WRITE_CACHE_ENABLED = 1U << 11;
