// SPDX-License-Identifier: LGPL-2.1-or-later
// Import patching. When this DLL is attached, the miniport that needs it is mapped and bound but
// has not run; a miniport loaded later is caught by the loader's notification, which comes before
// its entry too.
#include "lab/wine/patch.h"

#include <windows.h>

#include <winternl.h>

#include <cstdint>
#include <iterator>

#include "lab/wine/import_table.h"

extern "C" __declspec(dllimport) PEB* NTAPI RtlGetCurrentPeb();

#define REPLACED(name) extern "C" void name();
#include "lab/wine/replaced.inc"
#undef REPLACED

namespace wnbd::lab::wine {
namespace {

#define REPLACED(name) {#name, reinterpret_cast<void*>(&name)},
const Replacement replacements[] = {
#include "lab/wine/replaced.inc"
};
#undef REPLACED

void patch_module(const std::uint8_t* base) {
    if (imports_from(base, "storport.sys"))
        replace_imports(base, "ntoskrnl.exe", replacements, std::size(replacements));
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
