// SPDX-License-Identifier: LGPL-2.1-or-later
// The firmware query that comes in an SRB_FUNCTION_IO_CONTROL: Windows 10's layouts.
#pragma once

#include <cstddef>

#include "driver/ddk/srb.h"

struct SRB_IO_CONTROL {
    ULONG HeaderLength;  // 28
    UCHAR Signature[8];
    ULONG Timeout;
    ULONG ControlCode;
    ULONG ReturnCode;
    ULONG Length;  // bytes after this header
};
static_assert(sizeof(SRB_IO_CONTROL) == 28);

inline constexpr ULONG IOCTL_SCSI_MINIPORT_FIRMWARE = 0x001B0780;
inline constexpr UCHAR IOCTL_MINIPORT_SIGNATURE_FIRMWARE[8] = {'F', 'I', 'R', 'M',
                                                               'W', 'A', 'R', 'E'};

struct FIRMWARE_REQUEST_BLOCK {
    ULONG Version;
    ULONG Size;
    ULONG Function;
    ULONG Flags;
    ULONG DataBufferOffset;  // from the start of the SRB_IO_CONTROL
    ULONG DataBufferLength;
};
static_assert(sizeof(FIRMWARE_REQUEST_BLOCK) == 24);
inline constexpr ULONG FIRMWARE_REQUEST_BLOCK_STRUCTURE_VERSION = 1;
inline constexpr ULONG FIRMWARE_FUNCTION_GET_INFO = 1;

inline constexpr ULONG FIRMWARE_STATUS_SUCCESS = 0;
inline constexpr ULONG FIRMWARE_STATUS_ILLEGAL_REQUEST = 2;
inline constexpr ULONG FIRMWARE_STATUS_INVALID_PARAMETER = 3;
inline constexpr ULONG FIRMWARE_STATUS_OUTPUT_BUFFER_TOO_SMALL = 5;

struct STORAGE_FIRMWARE_SLOT_INFO_V2 {
    UCHAR SlotNumber;
    BOOLEAN ReadOnly;
    UCHAR Reserved[6];
    UCHAR Revision[16];
};
static_assert(sizeof(STORAGE_FIRMWARE_SLOT_INFO_V2) == 24);

struct STORAGE_FIRMWARE_INFO_V2 {
    ULONG Version;  // 2
    ULONG Size;
    BOOLEAN UpgradeSupport;
    UCHAR SlotCount;
    UCHAR ActiveSlot;
    UCHAR PendingActivateSlot;
    BOOLEAN FirmwareShared;
    UCHAR Reserved[3];
    ULONG ImagePayloadAlignment;
    ULONG ImagePayloadMaxSize;
    STORAGE_FIRMWARE_SLOT_INFO_V2 Slot[1];
};
inline constexpr ULONG STORAGE_FIRMWARE_INFO_STRUCTURE_VERSION_V2 = 2;
inline constexpr UCHAR STORAGE_FIRMWARE_INFO_INVALID_SLOT = 0xFF;
static_assert(sizeof(STORAGE_FIRMWARE_INFO_V2) == 48);
static_assert(offsetof(STORAGE_FIRMWARE_INFO_V2, ImagePayloadAlignment) == 16);
static_assert(offsetof(STORAGE_FIRMWARE_INFO_V2, Slot) == 24);
