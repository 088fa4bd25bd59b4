// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <vector>

#include "client/locked_memory.h"
#include "client/system.h"

namespace wnbd::client {
namespace {

/// For what is allocated after the locking.
constexpr SIZE_T working_set_reserve = SIZE_T{64} << 20;
/// A region larger than this is no code or data of ours but something shared and sparse.
constexpr SIZE_T region_max = SIZE_T{512} << 20;

struct Region {
    void* base;
    SIZE_T size;
};

bool is_lockable(const MEMORY_BASIC_INFORMATION& region) {
    return region.State == MEM_COMMIT && (region.Protect & (PAGE_GUARD | PAGE_NOACCESS)) == 0 &&
           region.RegionSize <= region_max;
}

std::vector<Region> lockable_regions() {
    std::vector<Region> regions;
    MEMORY_BASIC_INFORMATION region{};
    for (char* at = nullptr; VirtualQuery(at, &region, sizeof(region)) != 0;
         at = static_cast<char*>(region.BaseAddress) + region.RegionSize) {
        if (is_lockable(region)) regions.push_back({region.BaseAddress, region.RegionSize});
    }
    return regions;
}

/// A larger working set is a privilege, which users have but programs have to switch on.
void enable_working_set_privilege() {
    HANDLE token = nullptr;
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token) ==
        FALSE)
        return;
    for (const wchar_t* name :
         {L"SeIncreaseWorkingSetPrivilege", L"SeIncreaseBasePriorityPrivilege"}) {
        TOKEN_PRIVILEGES privileges{};
        privileges.PrivilegeCount = 1;
        privileges.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
        if (LookupPrivilegeValueW(nullptr, name, &privileges.Privileges[0].Luid) != FALSE)
            AdjustTokenPrivileges(token, FALSE, &privileges, 0, nullptr, nullptr);
    }
    CloseHandle(token);
}

/// As much may be locked as the smallest working set holds; none of it is given up again.
DWORD enlarge_working_set(SIZE_T bytes) {
    enable_working_set_privilege();
    const SIZE_T minimum = bytes + working_set_reserve;
    if (SetProcessWorkingSetSizeEx(
            GetCurrentProcess(), minimum, minimum + working_set_reserve,
            QUOTA_LIMITS_HARDWS_MIN_ENABLE | QUOTA_LIMITS_HARDWS_MAX_DISABLE) == FALSE)
        return GetLastError();
    return ERROR_SUCCESS;
}

}  // namespace

void announce_disk_server() noexcept {}

Residence lock_memory() {
    Residence residence;
    const std::vector<Region> regions = lockable_regions();
    SIZE_T total = 0;
    for (const Region& region : regions)
        total += region.size;
    residence.code = enlarge_working_set(total);
    for (const Region& region : regions) {
        if (VirtualLock(region.base, region.size) != FALSE) {
            residence.locked_bytes += region.size;
            continue;
        }
        if (residence.code == ERROR_SUCCESS) residence.code = GetLastError();
        residence.unlocked_bytes += region.size;
    }
    if (residence.unlocked_bytes == 0) residence.code = ERROR_SUCCESS;
    if (residence.code != ERROR_SUCCESS) residence.reason = system_error_text(residence.code);
    return residence;
}

}  // namespace wnbd::client
