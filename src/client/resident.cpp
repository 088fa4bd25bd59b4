// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/resident.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include <thread>
#include <vector>

#include "client/library_log.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

/// More than any command needs; touched once, so that it is there.
constexpr std::size_t stack_bytes = 512 * std::size_t{1024};
/// For what is allocated after the locking.
constexpr SIZE_T working_set_reserve = SIZE_T{64} << 20;
/// A region larger than this is no code or data of ours but something shared and sparse.
constexpr SIZE_T region_max = SIZE_T{512} << 20;

struct Region {
    void* base;
    SIZE_T size;
};

/// Asks each question of the library once; the answers do not matter.
void rehearse_library() {
    WNBD_VERSION version{};
    static_cast<void>(WnbdGetDriverVersion(&version));
    DWORD size = 0;
    static_cast<void>(WnbdList(nullptr, &size));
    size = 0;
    static_cast<void>(WnbdListDrvOpt(nullptr, &size, FALSE));
    WNBD_CONNECTION_INFO disk{};
    static_cast<void>(WnbdShow("\x01", &disk));
    WNBD_DRV_STATS stats{};
    static_cast<void>(WnbdGetDriverStats("\x01", &stats));
    DEVINST device = 0;
    static_cast<void>(WnbdGetAdapterDevInst(&device));
    static_cast<void>(take_library_error());
}

/// Sockets have providers that are loaded with the first one.
void rehearse_sockets() {
    WSADATA data{};
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) return;
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST;
    addrinfo* found = nullptr;
    if (getaddrinfo("127.0.0.1", "10809", &hints, &found) == 0) freeaddrinfo(found);
    const SOCKET socket_handle = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    if (socket_handle != INVALID_SOCKET) closesocket(socket_handle);
    WSACleanup();
}

/// Message texts are files, too, mapped when the first text is asked for: one of Windows, one of
/// Windows Sockets, one of SetupAPI.
void rehearse_messages() {
    for (const DWORD code : {DWORD{ERROR_ACCESS_DENIED}, DWORD{WSAECONNREFUSED}, DWORD{0xE0000202}})
        static_cast<void>(system_error_text(code));
    SYSTEMTIME now{};
    GetLocalTime(&now);
}

[[gnu::noinline]] void touch_stack() {
    char pages[stack_bytes];
    SecureZeroMemory(pages, sizeof(pages));
}

/// So that nobody's FreeLibrary takes away what was loaded for all time.
void keep_libraries() {
    HMODULE kept = nullptr;
    MEMORY_BASIC_INFORMATION region{};
    for (char* at = nullptr; VirtualQuery(at, &region, sizeof(region)) != 0;
         at = static_cast<char*>(region.BaseAddress) + region.RegionSize) {
        if (region.Type != MEM_IMAGE || region.BaseAddress != region.AllocationBase) continue;
        GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                           static_cast<LPCWSTR>(region.AllocationBase), &kept);
    }
}

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

Residence become_resident() {
    rehearse_library();
    rehearse_sockets();
    rehearse_messages();
    touch_stack();
    // A thread's beginning and end run code of every library.
    std::thread([] {}).join();
    keep_libraries();

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
    return residence;
}

}  // namespace wnbd::client
