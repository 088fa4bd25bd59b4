// SPDX-License-Identifier: LGPL-2.1-or-later
// One DeviceIoControl, waited for or handed to the caller's OVERLAPPED.
#pragma once

#include <span>

#include "libwnbd/names.h"
#include "wnbd.h"

namespace wnbd::libwnbd {

/// The control code all WNBD commands travel under (IOCTL_MINIPORT_PROCESS_SERVICE_IRP).
inline constexpr DWORD process_service_irp = 0x0004D038;

/// With `overlapped` NULL: waits for the end on an event that the thread keeps, and `*returned` is
/// the reply's length. Otherwise as DeviceIoControl: ERROR_IO_PENDING is a result, `output` must
/// outlive the operation, `*returned` counts on success only. `input` is needed during the call
/// only, because all our codes are METHOD_BUFFERED: the system keeps its own copy.
[[nodiscard]] DWORD device_control(HANDLE device, DWORD code, std::span<const std::byte> input,
                                   std::span<std::byte> output, DWORD* returned,
                                   LPOVERLAPPED overlapped) noexcept;

/// A command without reply.
template <typename Command>
[[nodiscard]] DWORD send_command(HANDLE adapter, const Command& command,
                                 LPOVERLAPPED overlapped) noexcept {
    DWORD returned = 0;
    return device_control(adapter, process_service_irp, std::as_bytes(std::span(&command, 1)), {},
                          &returned, overlapped);
}

/// A command with a reply of fixed size, which goes straight to the caller's structure.
template <typename Command, typename Reply>
[[nodiscard]] DWORD ask(HANDLE adapter, const Command& command, Reply& reply,
                        LPOVERLAPPED overlapped) noexcept {
    DWORD returned = 0;
    const DWORD error =
        device_control(adapter, process_service_irp, std::as_bytes(std::span(&command, 1)),
                       std::as_writable_bytes(std::span(&reply, 1)), &returned, overlapped);
    if (error == ERROR_SUCCESS && returned < sizeof(Reply)) return ERROR_INVALID_DATA;
    return error;
}

/// The documented error of a name that cannot be sent.
[[nodiscard]] constexpr DWORD error_of(NameFault fault) noexcept {
    switch (fault) {
        case NameFault::none: return ERROR_SUCCESS;
        case NameFault::too_long: return ERROR_BUFFER_OVERFLOW;
        case NameFault::null:
        case NameFault::empty: break;
    }
    return ERROR_INVALID_PARAMETER;
}

}  // namespace wnbd::libwnbd
