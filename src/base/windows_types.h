// SPDX-License-Identifier: LGPL-2.1-or-later
// The few Windows names that include/wnbd_ioctl.h asks of its includer, without a Windows header:
// portable code sees the very structures of the ABI in every kind of build. Where Windows headers
// are included too, these are the same types again, which C++ allows.
#pragma once

#include <cstdint>

#if defined(_WIN32)

#include <basetsd.h>
#include <guiddef.h>

using INT = int;
using BYTE = unsigned char;
using CHAR = char;
using WCHAR = wchar_t;
using BOOLEAN = unsigned char;
using USHORT = unsigned short;
using ULONG = unsigned long;
using DWORD = unsigned long;
using PVOID = void*;

#else

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

#endif
