// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/wine/import_table.h"

#include <windows.h>

#include <cstring>

namespace wnbd::lab::wine {
namespace {

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

/// The table of what comes from this DLL, at `table` or behind it; nullptr: there is none.
const IMAGE_IMPORT_DESCRIPTOR* find_table(const std::uint8_t* base,
                                          const IMAGE_IMPORT_DESCRIPTOR* table, const char* dll) {
    if (table == nullptr) return nullptr;
    for (; table->Name != 0; ++table)
        if (lstrcmpiA(reinterpret_cast<const char*>(base + table->Name), dll) == 0) return table;
    return nullptr;
}

void patch_table(const std::uint8_t* base, const IMAGE_IMPORT_DESCRIPTOR& table,
                 const Replacement* replacements, std::size_t count) {
    const DWORD names = table.OriginalFirstThunk != 0 ? table.OriginalFirstThunk : table.FirstThunk;
    const auto* const thunks = reinterpret_cast<const IMAGE_THUNK_DATA64*>(base + names);
    auto* const slots =
        reinterpret_cast<ULONG_PTR*>(const_cast<std::uint8_t*>(base) + table.FirstThunk);
    for (unsigned i = 0; thunks[i].u1.AddressOfData != 0; ++i) {
        if (IMAGE_SNAP_BY_ORDINAL64(thunks[i].u1.Ordinal)) continue;
        const auto* const by_name =
            reinterpret_cast<const IMAGE_IMPORT_BY_NAME*>(base + thunks[i].u1.AddressOfData);
        for (std::size_t k = 0; k < count; ++k)
            if (std::strcmp(reinterpret_cast<const char*>(by_name->Name), replacements[k].name) ==
                0)
                set_slot(&slots[i], replacements[k].function);
    }
}

}  // namespace

bool imports_from(const std::uint8_t* base, const char* dll) {
    return find_table(base, imports_of(base), dll) != nullptr;
}

void replace_imports(const std::uint8_t* base, const char* dll, const Replacement* replacements,
                     std::size_t count) {
    const IMAGE_IMPORT_DESCRIPTOR* table = find_table(base, imports_of(base), dll);
    for (; table != nullptr; table = find_table(base, table + 1, dll))
        patch_table(base, *table, replacements, count);
}

}  // namespace wnbd::lab::wine
