// SPDX-License-Identifier: LGPL-2.1-or-later
// The few Windows names that include/wnbd_ioctl.h asks of its includer, for builds without Windows
// headers: native tests and fuzzers of the ioctl surface see the very structures of the ABI.
#pragma once

#if defined(_WIN32)
#error "Windows builds have the real types: include <windows.h> or <ntddk.h>"
#endif

#include <cstdint>

using INT8 = std::int8_t;
using UINT8 = std::uint8_t;
using UINT16 = std::uint16_t;
using UINT32 = std::uint32_t;
using UINT64 = std::uint64_t;
using INT = std::int32_t;
using INT64 = std::int64_t;
using BYTE = std::uint8_t;
using CHAR = char;
using WCHAR = char16_t;
using BOOLEAN = std::uint8_t;
using USHORT = std::uint16_t;
using ULONG = std::uint32_t;
using DWORD = std::uint32_t;
using PVOID = void*;

struct GUID {
    std::uint32_t Data1;
    std::uint16_t Data2;
    std::uint16_t Data3;
    std::uint8_t Data4[8];
};
