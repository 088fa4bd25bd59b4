/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Windows names wnbd_ioctl.h asks for, in C and without Windows (C++: base/windows_types.h). */
#ifndef WNBD_TEST_NATIVE_TYPES_H
#define WNBD_TEST_NATIVE_TYPES_H

#include <stdint.h>

typedef uint8_t UINT8, BOOLEAN;
typedef uint16_t UINT16, USHORT, WCHAR;
typedef uint32_t UINT32, ULONG;
typedef uint64_t UINT64;
typedef int32_t INT;
typedef int64_t INT64;
typedef char CHAR;
typedef void* PVOID;
typedef struct {
    uint32_t Data1;
    uint16_t Data2, Data3;
    uint8_t Data4[8];
} GUID;

#endif
