// SPDX-License-Identifier: LGPL-2.1-or-later
// Kernel functions of Windows 10 1809 that mingw's DDK headers do not declare, and the two storage
// ioctls that this driver sends itself: mingw's headers for them collide with srb.h.
#pragma once

#include "driver/ddk/kernel.h"

/// MmMapLockedPagesSpecifyCache's priority argument: no code runs from what it maps.
inline constexpr ULONG MDL_MAPPING_NO_EXECUTE = 0x40000000;

enum DRIVER_REGKEY_TYPE : int { DriverRegKeyParameters = 0, DriverRegKeyPersistentState = 1 };

inline constexpr ULONG IOCTL_STORAGE_GET_DEVICE_NUMBER = 0x002D1080;
struct STORAGE_DEVICE_NUMBER {
    ULONG DeviceType;
    ULONG DeviceNumber;
    ULONG PartitionNumber;
};
static_assert(sizeof(STORAGE_DEVICE_NUMBER) == 12);

inline constexpr ULONG IOCTL_SCSI_GET_ADDRESS = 0x00041018;
struct SCSI_ADDRESS {
    ULONG Length;
    UCHAR PortNumber;
    UCHAR PathId;
    UCHAR TargetId;
    UCHAR Lun;
};
static_assert(sizeof(SCSI_ADDRESS) == 8);

extern "C" {
NTKERNELAPI NTSTATUS NTAPI IoOpenDriverRegistryKey(PDRIVER_OBJECT driver, DRIVER_REGKEY_TYPE type,
                                                   ACCESS_MASK access, ULONG flags, PHANDLE key);
NTKERNELAPI ULONG NTAPI IoGetRequestorProcessId(PIRP irp);
/// 100 ns units; not tied to the timer tick.
NTKERNELAPI ULONGLONG NTAPI KeQueryInterruptTimePrecise(PULONG64 performance_counter);
int __cdecl _vsnprintf(char* buffer, size_t count, const char* format, va_list arguments);
}
