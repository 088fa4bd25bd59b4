// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/list_reply.h"

#include <cstring>

namespace wnbd::libwnbd {

namespace {

constexpr DWORD head_size = 2 * sizeof(UINT32);

void say_empty(std::byte* list, DWORD size) noexcept {
    if (list != nullptr && size >= head_size) std::memset(list, 0, head_size);
}

}  // namespace

DWORD ask_list_bytes(HANDLE adapter, std::span<const std::byte> command, std::byte* list,
                     PDWORD buffer_size, LPOVERLAPPED overlapped) noexcept {
    if (buffer_size == nullptr || (list == nullptr && *buffer_size > 0))
        return ERROR_INVALID_PARAMETER;
    const DWORD size = *buffer_size;
    DWORD returned = 0;
    if (overlapped != nullptr)
        return device_control(adapter, process_service_irp, command, {list, size}, buffer_size,
                              overlapped);

    // First the size: a driver of the first implementation answers a short buffer with more bytes
    // than it has room for.
    DWORD error = device_control(adapter, process_service_irp, command, {}, &returned, nullptr);
    if (error != ERROR_SUCCESS) return error;
    if (returned > size) {
        say_empty(list, size);
        *buffer_size = returned;
        return ERROR_SUCCESS;
    }
    error = device_control(adapter, process_service_irp, command, {list, size}, &returned, nullptr);
    if (error == ERROR_MORE_DATA || error == ERROR_INSUFFICIENT_BUFFER ||
        (error == ERROR_SUCCESS && returned > size)) {
        // It grew in between.
        say_empty(list, size);
        return device_control(adapter, process_service_irp, command, {}, buffer_size, nullptr);
    }
    if (error != ERROR_SUCCESS) return error;
    if (returned < head_size) return ERROR_INVALID_DATA;
    *buffer_size = returned;
    return ERROR_SUCCESS;
}

}  // namespace wnbd::libwnbd
