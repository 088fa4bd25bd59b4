// SPDX-License-Identifier: LGPL-2.1-or-later
// ntdll and kernel32 as used beside the DDK's headers, which cannot be mixed with <windows.h>.
#pragma once

#include "driver/ddk/kernel.h"

namespace wnbd::lab::wine {

struct MemoryInformation {  // MEMORY_BASIC_INFORMATION
    PVOID base;
    PVOID allocation_base;
    ULONG allocation_protect;
    SIZE_T region_size;
    ULONG state;
    ULONG protect;
    ULONG type;
};
static_assert(sizeof(MemoryInformation) == 48);

}  // namespace wnbd::lab::wine

extern "C" {
__declspec(dllimport) NTSTATUS NTAPI NtReadVirtualMemory(HANDLE, PVOID, PVOID, SIZE_T, PSIZE_T);
__declspec(dllimport) NTSTATUS NTAPI NtWriteVirtualMemory(HANDLE, PVOID, PVOID, SIZE_T, PSIZE_T);
__declspec(dllimport) NTSTATUS NTAPI NtQueryVirtualMemory(HANDLE, PVOID, int, PVOID, SIZE_T,
                                                          PSIZE_T);
NTSTATUS NTAPI IoCreateDriver(PUNICODE_STRING name, PDRIVER_INITIALIZE entry);
__declspec(dllimport) void NTAPI RtlRaiseStatus(NTSTATUS);
__declspec(dllimport) PVOID __stdcall GetProcAddress(PVOID module, const char* name);
__declspec(dllimport) PVOID __stdcall GetModuleHandleA(const char* name);
__declspec(dllimport) int __stdcall VirtualProtect(PVOID, SIZE_T, ULONG, ULONG*);
}
