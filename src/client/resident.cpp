// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/resident.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include <thread>

#include "client/library_log.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

/// More than any command needs; touched once, so that it is there.
constexpr std::size_t stack_bytes = 512 * std::size_t{1024};

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

}  // namespace

Residence become_resident() {
    rehearse_library();
    rehearse_sockets();
    rehearse_messages();
    touch_stack();
    // A thread's beginning and end run code of every library.
    std::thread([] {}).join();
    keep_libraries();
    return lock_memory();
}

}  // namespace wnbd::client
