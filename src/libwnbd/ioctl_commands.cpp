// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's commands as functions: disks and the driver itself.
#include <windows.h>

#include <winioctl.h>

#include <algorithm>

#include "libwnbd/device_control.h"
#include "libwnbd/list_reply.h"
#include "libwnbd/log.h"
#include "libwnbd/windows_handles.h"

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdIoctlPing(HANDLE Adapter, LPOVERLAPPED Overlapped) {
    return send_command(Adapter, WNBD_IOCTL_PING_COMMAND{IOCTL_WNBD_PING}, Overlapped);
}

DWORD WnbdIoctlCreate(HANDLE Adapter, PWNBD_PROPERTIES Properties,
                      PWNBD_CONNECTION_INFO ConnectionInfo, LPOVERLAPPED Overlapped) {
    if (Properties == nullptr || ConnectionInfo == nullptr) return ERROR_INVALID_PARAMETER;
    if (const char* const field = unterminated_field(*Properties)) {
        LOG_ERROR("%s does not end within its array", field);
        return ERROR_BUFFER_OVERFLOW;
    }
    WNBD_IOCTL_CREATE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_CREATE;
    command.Properties = *Properties;
    return ask(Adapter, command, *ConnectionInfo, Overlapped);
}

DWORD WnbdIoctlRemove(HANDLE Adapter, const char* InstanceName,
                      PWNBD_REMOVE_COMMAND_OPTIONS RemoveOptions, LPOVERLAPPED Overlapped) {
    WNBD_IOCTL_REMOVE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_REMOVE;
    const DWORD error = error_of(copy_name(command.InstanceName, InstanceName));
    if (error != ERROR_SUCCESS) return error;
    if (RemoveOptions != nullptr) command.Options = *RemoveOptions;
    return send_command(Adapter, command, Overlapped);
}

DWORD WnbdIoctlList(HANDLE Adapter, PWNBD_CONNECTION_LIST ConnectionList, PDWORD BufferSize,
                    LPOVERLAPPED Overlapped) {
    return ask_list(Adapter, WNBD_IOCTL_LIST_COMMAND{IOCTL_WNBD_LIST}, ConnectionList, BufferSize,
                    Overlapped);
}

DWORD WnbdIoctlShow(HANDLE Adapter, const char* InstanceName, PWNBD_CONNECTION_INFO ConnectionInfo,
                    LPOVERLAPPED Overlapped) {
    if (ConnectionInfo == nullptr) return ERROR_INVALID_PARAMETER;
    WNBD_IOCTL_SHOW_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SHOW;
    const DWORD error = error_of(copy_name(command.InstanceName, InstanceName));
    if (error != ERROR_SUCCESS) return error;
    return ask(Adapter, command, *ConnectionInfo, Overlapped);
}

DWORD WnbdIoctlStats(HANDLE Adapter, const char* InstanceName, PWNBD_DRV_STATS Stats,
                     LPOVERLAPPED Overlapped) {
    if (Stats == nullptr) return ERROR_INVALID_PARAMETER;
    WNBD_IOCTL_STATS_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_STATS;
    const DWORD error = error_of(copy_name(command.InstanceName, InstanceName));
    if (error != ERROR_SUCCESS) return error;
    return ask(Adapter, command, *Stats, Overlapped);
}

DWORD WnbdIoctlReloadConfig(HANDLE Adapter, LPOVERLAPPED Overlapped) {
    return send_command(Adapter, WNBD_IOCTL_RELOAD_CONFIG_COMMAND{IOCTL_WNBD_RELOAD_CONFIG},
                        Overlapped);
}

DWORD WnbdIoctlVersion(HANDLE Adapter, PWNBD_VERSION Version, LPOVERLAPPED Overlapped) {
    if (Version == nullptr) return ERROR_INVALID_PARAMETER;
    return ask(Adapter, WNBD_IOCTL_VERSION_COMMAND{IOCTL_WNBD_VERSION}, *Version, Overlapped);
}

DWORD WnbdIoctlSendResponse(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId,
                            PWNBD_IO_RESPONSE Response, PVOID DataBuffer, UINT32 DataBufferSize,
                            LPOVERLAPPED Overlapped) {
    if (Response == nullptr || (DataBuffer == nullptr && DataBufferSize > 0))
        return ERROR_INVALID_PARAMETER;
    WNBD_IOCTL_SEND_RSP_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SEND_RSP;
    command.Response = *Response;
    command.ConnectionId = ConnectionId;
    command.DataBuffer = DataBuffer;
    command.DataBufferSize = DataBufferSize;
    return send_command(Adapter, command, Overlapped);
}

DWORD WnbdIoctlSetDiskSize(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId, UINT64 BlockCount,
                           LPOVERLAPPED Overlapped) {
    if (BlockCount == 0) return ERROR_INVALID_PARAMETER;
    WNBD_IOCTL_SET_SIZE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DISK_SIZE;
    command.ConnectionId = ConnectionId;
    command.BlockCount = BlockCount;
    return send_command(Adapter, command, Overlapped);
}

DWORD WnbdIoctlGetIOLimits(HANDLE DiskHandle, PDWORD LunMaxIoCount, PDWORD AdapterMaxIoCount,
                           LPOVERLAPPED Overlapped) {
    if (LunMaxIoCount == nullptr || AdapterMaxIoCount == nullptr) return ERROR_INVALID_PARAMETER;
    STORAGE_PROPERTY_QUERY query{};
    query.PropertyId = StorageDeviceIoCapabilityProperty;
    query.QueryType = PropertyStandardQuery;
    // STORAGE_DEVICE_IO_CAPABILITY_DESCRIPTOR, which older SDK headers lack.
    struct {
        DWORD version, size, lun_max_io_count, adapter_max_io_count;
    } limits{};
    DWORD returned = 0;
    DWORD error = device_control(
        DiskHandle, IOCTL_STORAGE_QUERY_PROPERTY, std::as_bytes(std::span(&query, 1)),
        std::as_writable_bytes(std::span(&limits, 1)), &returned, Overlapped);
    // The reply is taken apart here, so this one waits in any case.
    if (error == ERROR_IO_PENDING)
        error = GetOverlappedResult(DiskHandle, Overlapped, &returned, TRUE) ? ERROR_SUCCESS
                                                                             : last_error();
    if (error != ERROR_SUCCESS) return error;
    if (returned < sizeof(limits)) return ERROR_INVALID_DATA;
    *LunMaxIoCount = limits.lun_max_io_count;
    *AdapterMaxIoCount = limits.adapter_max_io_count;
    return ERROR_SUCCESS;
}

}  // extern "C"
