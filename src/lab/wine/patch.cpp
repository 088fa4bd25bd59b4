// SPDX-License-Identifier: LGPL-2.1-or-later
// Import patching. When this DLL is attached, the miniport that needs it is mapped and bound but
// has not run; a miniport loaded later is caught by the loader's notification, which comes before
// its entry too.
#include "lab/wine/patch.h"

#include <windows.h>

#include <winternl.h>

#include <cstdint>
#include <cstring>

extern "C" __declspec(dllimport) PEB* NTAPI RtlGetCurrentPeb();

#define REPLACED(name) extern "C" void name();
#include "lab/wine/replaced.inc"
#undef REPLACED

namespace wnbd::lab::wine {
namespace {

struct Replacement {
    const char* name;
    void* function;
};

#define REPLACED(name) {#name, reinterpret_cast<void*>(&name)},
const Replacement replacements[] = {
#include "lab/wine/replaced.inc"
};
#undef REPLACED

void set_slot(ULONG_PTR* slot, void* function) {
    DWORD old = 0;
    VirtualProtect(slot, sizeof *slot, PAGE_READWRITE, &old);
    *slot = reinterpret_cast<ULONG_PTR>(function);
    VirtualProtect(slot, sizeof *slot, old, &old);
}

const IMAGE_IMPORT_DESCRIPTOR* imports_of(const std::uint8_t* base) {
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    const auto* const headers = reinterpret_cast<const IMAGE_NT_HEADERS64*>(base + dos->e_lfanew);
    const IMAGE_DATA_DIRECTORY& directory =
        headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    if (directory.VirtualAddress == 0) return nullptr;
    return reinterpret_cast<const IMAGE_IMPORT_DESCRIPTOR*>(base + directory.VirtualAddress);
}

void patch_table(const std::uint8_t* base, const IMAGE_IMPORT_DESCRIPTOR& table) {
    const DWORD names = table.OriginalFirstThunk != 0 ? table.OriginalFirstThunk : table.FirstThunk;
    const auto* const thunks = reinterpret_cast<const IMAGE_THUNK_DATA64*>(base + names);
    auto* const slots =
        reinterpret_cast<ULONG_PTR*>(const_cast<std::uint8_t*>(base) + table.FirstThunk);
    for (unsigned i = 0; thunks[i].u1.AddressOfData != 0; ++i) {
        if (IMAGE_SNAP_BY_ORDINAL64(thunks[i].u1.Ordinal)) continue;
        const auto* const by_name =
            reinterpret_cast<const IMAGE_IMPORT_BY_NAME*>(base + thunks[i].u1.AddressOfData);
        for (const Replacement& replacement : replacements)
            if (std::strcmp(reinterpret_cast<const char*>(by_name->Name), replacement.name) == 0)
                set_slot(&slots[i], replacement.function);
    }
}

void patch_module(const std::uint8_t* base) {
    const IMAGE_IMPORT_DESCRIPTOR* const tables = imports_of(base);
    if (tables == nullptr) return;
    bool is_miniport = false;
    for (const auto* table = tables; table->Name != 0; ++table)
        if (lstrcmpiA(reinterpret_cast<const char*>(base + table->Name), "storport.sys") == 0)
            is_miniport = true;
    if (!is_miniport) return;
    for (const auto* table = tables; table->Name != 0; ++table)
        if (lstrcmpiA(reinterpret_cast<const char*>(base + table->Name), "ntoskrnl.exe") == 0)
            patch_table(base, *table);
}

struct LoadNotice {
    ULONG flags;
    const UNICODE_STRING* full_name;
    const UNICODE_STRING* base_name;
    PVOID base;
    ULONG size;
};
constexpr ULONG kLoaded = 1;

VOID NTAPI loaded(ULONG reason, const LoadNotice* notice, PVOID) {
    if (reason == kLoaded) patch_module(static_cast<const std::uint8_t*>(notice->base));
}

}  // namespace

void patch_importers() {
    const PEB_LDR_DATA* const loader = RtlGetCurrentPeb()->Ldr;
    const LIST_ENTRY* const head = &loader->InMemoryOrderModuleList;
    for (const LIST_ENTRY* entry = head->Flink; entry != head; entry = entry->Flink) {
        const auto* const module =
            CONTAINING_RECORD(entry, LDR_DATA_TABLE_ENTRY, InMemoryOrderLinks);
        patch_module(static_cast<const std::uint8_t*>(module->DllBase));
    }
    using Register = NTSTATUS(NTAPI*)(ULONG, decltype(&loaded), PVOID, PVOID*);
    const auto notify = reinterpret_cast<Register>(reinterpret_cast<void*>(
        GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "LdrRegisterDllNotification")));
    PVOID cookie = nullptr;
    if (notify != nullptr) notify(0, loaded, nullptr, &cookie);
}

}  // namespace wnbd::lab::wine
