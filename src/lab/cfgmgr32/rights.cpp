// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/cfgmgr32/rights.h"

#include <windows.h>

#include <sddl.h>
#include <winternl.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>

#include "lab/wine/import_table.h"

extern "C" __declspec(dllimport) PEB* NTAPI RtlGetCurrentPeb();

namespace wnbd::lab::cfgmgr {
namespace {

constexpr wchar_t kInterfacePrefix[] = L"\\\\?\\";
constexpr wchar_t kDevices[] = L"System\\CurrentControlSet\\Enum\\";

/// "ROOT\SCSIADAPTER\0000" of "\\?\root#scsiadapter#0000#{class}"; empty: no interface's name.
std::wstring instance_of(const wchar_t* path) {
    std::wstring instance(path);
    const std::size_t end = instance.rfind(L"#{");
    if (!instance.starts_with(kInterfacePrefix) || end == std::wstring::npos) return {};
    instance =
        instance.substr(std::size(kInterfacePrefix) - 1, end - std::size(kInterfacePrefix) + 1);
    std::ranges::replace(instance, L'#', L'\\');
    return instance;
}

/// What the INF's HKR,,Security left; on Windows it becomes the device object's descriptor, which
/// has an owner and a group, without which AccessCheck takes none.
std::wstring descriptor_of(const std::wstring& instance) {
    const std::wstring key = kDevices + instance + L"\\Device Parameters";
    wchar_t text[1024] = {};
    DWORD bytes = sizeof text;
    if (RegGetValueW(HKEY_LOCAL_MACHINE, key.c_str(), L"Security", RRF_RT_REG_SZ, nullptr, text,
                     &bytes) != ERROR_SUCCESS)
        return {};
    return std::wstring(L"O:SYG:SY") + text;
}

bool is_granted(PSECURITY_DESCRIPTOR descriptor, DWORD access) {
    HANDLE token = nullptr;
    if (!ImpersonateSelf(SecurityImpersonation)) return false;
    const bool opened = OpenThreadToken(GetCurrentThread(), TOKEN_QUERY, TRUE, &token) != 0;
    RevertToSelf();
    if (!opened) return false;
    GENERIC_MAPPING mapping{FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE,
                            FILE_ALL_ACCESS};
    MapGenericMask(&access, &mapping);
    std::uint8_t used[256];
    DWORD used_bytes = sizeof used;
    DWORD granted = 0;
    BOOL allowed = FALSE;
    const bool asked =
        AccessCheck(descriptor, token, access, &mapping, reinterpret_cast<PRIVILEGE_SET*>(used),
                    &used_bytes, &granted, &allowed) != 0;
    CloseHandle(token);
    return asked && allowed != FALSE;
}

bool may_open(const wchar_t* path, DWORD access) {
    const std::wstring instance = instance_of(path);
    const std::wstring text = instance.empty() ? std::wstring() : descriptor_of(instance);
    if (text.empty()) return true;
    PSECURITY_DESCRIPTOR descriptor = nullptr;
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorW(text.c_str(), SDDL_REVISION_1,
                                                              &descriptor, nullptr))
        return false;
    const bool granted = is_granted(descriptor, access);
    LocalFree(descriptor);
    return granted;
}

HANDLE WINAPI create_file(const wchar_t* path, DWORD access, DWORD sharing,
                          SECURITY_ATTRIBUTES* attributes, DWORD disposition, DWORD flags,
                          HANDLE pattern) {
    if (path == nullptr || may_open(path, access))
        return CreateFileW(path, access, sharing, attributes, disposition, flags, pattern);
    SetLastError(ERROR_ACCESS_DENIED);
    return INVALID_HANDLE_VALUE;
}

}  // namespace

void guard_interfaces() {
    const wine::Replacement replacement{"CreateFileW", reinterpret_cast<void*>(&create_file)};
    const LIST_ENTRY* const head = &RtlGetCurrentPeb()->Ldr->InMemoryOrderModuleList;
    for (const LIST_ENTRY* entry = head->Flink; entry != head; entry = entry->Flink) {
        const auto* const base = static_cast<const std::uint8_t*>(
            CONTAINING_RECORD(entry, LDR_DATA_TABLE_ENTRY, InMemoryOrderLinks)->DllBase);
        if (wine::imports_from(base, "cfgmgr32.dll"))
            wine::replace_imports(base, "KERNEL32.dll", &replacement, 1);
    }
}

}  // namespace wnbd::lab::cfgmgr

extern "C" BOOL WINAPI DllMain(HINSTANCE, DWORD reason, void*) {
    if (reason == DLL_PROCESS_ATTACH) wnbd::lab::cfgmgr::guard_interfaces();
    return TRUE;
}
