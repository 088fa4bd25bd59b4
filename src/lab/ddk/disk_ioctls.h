// SPDX-License-Identifier: LGPL-2.1-or-later
// The disk and storage ioctls as kernel code sees them, and the few structures that mingw's headers
// lack.
#pragma once

// First: mingw's ntddstor.h makes macros of some names that this header has as constants.
#include "driver/ddk/storport.h"

extern "C" {
#include <ntdddisk.h>
#include <ntddscsi.h>
#include <ntddstor.h>
}

namespace wnbd::lab {

inline constexpr ULONG kIoctlGetDiskAttributes = 0x000700F0;  // IOCTL_DISK_GET_DISK_ATTRIBUTES
inline constexpr ULONG kIoctlSetDiskAttributes = 0x0007C0F4;  // IOCTL_DISK_SET_DISK_ATTRIBUTES

struct DiskAttributesGet {  // GET_DISK_ATTRIBUTES
    ULONG Version;
    ULONG Reserved1;
    ULONGLONG Attributes;
};
static_assert(sizeof(DiskAttributesGet) == 16);

struct DiskAttributesSet {  // SET_DISK_ATTRIBUTES
    ULONG Version;
    BOOLEAN Persist;
    UCHAR Reserved1[3];
    ULONGLONG Attributes;
    ULONGLONG AttributesMask;
    ULONG Reserved2[4];
};
static_assert(sizeof(DiskAttributesSet) == 40);
inline constexpr ULONGLONG kAttributeOffline = 1;
inline constexpr ULONGLONG kAttributeReadOnly = 2;

inline constexpr ULONG kPropertyIoCapability = 48;  // StorageDeviceIoCapabilityProperty

struct DeviceIoCapability {  // STORAGE_DEVICE_IO_CAPABILITY_DESCRIPTOR
    ULONG Version;
    ULONG Size;
    ULONG LunMaxIoCount;
    ULONG AdapterMaxIoCount;
};
static_assert(sizeof(DeviceIoCapability) == 16);

}  // namespace wnbd::lab
