// SPDX-License-Identifier: LGPL-2.1-or-later
// Questions to the library, and to the driver through an adapter handle of their own.
#include <cstring>

#include "libwnbd/adapter.h"
#include "libwnbd/device_control.h"
#include "libwnbd/disk.h"
#include "version.h"

using namespace wnbd::libwnbd;

namespace {

template <typename Question>
DWORD with_adapter(Question&& question) {
    return guarded([&]() -> DWORD {
        UniqueHandle adapter;
        const DWORD error = open_own_adapter(adapter);
        return error == ERROR_SUCCESS ? question(adapter.get()) : error;
    });
}

/// So that a bad name is told from a missing adapter, whether there is one or not.
DWORD check_name(const char* name) {
    CHAR copy[WNBD_MAX_NAME_LENGTH];
    return error_of(copy_name(copy, name));
}

}  // namespace

extern "C" {

DWORD WnbdList(PWNBD_CONNECTION_LIST ConnectionList, PDWORD BufferSize) {
    if (BufferSize == nullptr || (ConnectionList == nullptr && *BufferSize > 0))
        return ERROR_INVALID_PARAMETER;
    return with_adapter([&](HANDLE adapter) {
        return WnbdIoctlList(adapter, ConnectionList, BufferSize, nullptr);
    });
}

DWORD WnbdShow(const char* InstanceName, PWNBD_CONNECTION_INFO ConnectionInfo) {
    if (ConnectionInfo == nullptr) return ERROR_INVALID_PARAMETER;
    const DWORD error = check_name(InstanceName);
    if (error != ERROR_SUCCESS) return error;
    return with_adapter([&](HANDLE adapter) {
        return WnbdIoctlShow(adapter, InstanceName, ConnectionInfo, nullptr);
    });
}

DWORD WnbdGetDriverStats(const char* InstanceName, PWNBD_DRV_STATS Stats) {
    if (Stats == nullptr) return ERROR_INVALID_PARAMETER;
    const DWORD error = check_name(InstanceName);
    if (error != ERROR_SUCCESS) return error;
    return with_adapter(
        [&](HANDLE adapter) { return WnbdIoctlStats(adapter, InstanceName, Stats, nullptr); });
}

DWORD WnbdGetUserspaceStats(PWNBD_DISK Disk, PWNBD_USR_STATS Stats) {
    if (Disk == nullptr || Stats == nullptr) return ERROR_INVALID_PARAMETER;
    const CounterValues values = wnbd::libwnbd::Disk::of(Disk)->counters.snapshot();
    WNBD_USR_STATS stats{};
    stats.TotalReceivedRequests = values.received;
    stats.TotalSubmittedRequests = values.submitted;
    stats.TotalReceivedReplies = values.replies;
    stats.UnsubmittedRequests = values.unsubmitted;
    stats.PendingSubmittedRequests = values.pending_submitted;
    stats.PendingReplies = values.pending_replies;
    stats.ReadErrors = values.errors[WnbdReqTypeRead];
    stats.WriteErrors = values.errors[WnbdReqTypeWrite];
    stats.FlushErrors = values.errors[WnbdReqTypeFlush];
    stats.UnmapErrors = values.errors[WnbdReqTypeUnmap];
    stats.InvalidRequests = values.invalid;
    stats.TotalRWRequests = values.read_write;
    stats.TotalReadBlocks = values.read_blocks;
    stats.TotalWrittenBlocks = values.written_blocks;
    stats.PersistResInErrors = values.errors[WnbdReqTypePersistResIn];
    stats.PersistResOutErrors = values.errors[WnbdReqTypePersistResOut];
    *Stats = stats;
    return ERROR_SUCCESS;
}

DWORD WnbdGetUserContext(PWNBD_DISK Disk, PVOID* Context) {
    if (Disk == nullptr || Context == nullptr) return ERROR_INVALID_PARAMETER;
    *Context = Disk->Context;
    return ERROR_SUCCESS;
}

DWORD WnbdGetConnectionInfo(PWNBD_DISK Disk, PWNBD_CONNECTION_INFO ConnectionInfo) {
    if (Disk == nullptr || ConnectionInfo == nullptr) return ERROR_INVALID_PARAMETER;
    *ConnectionInfo = Disk->ConnectionInfo;
    return ERROR_SUCCESS;
}

DWORD WnbdGetLibVersion(PWNBD_VERSION Version) {
    if (Version == nullptr) return ERROR_INVALID_PARAMETER;
    static_assert(sizeof(WNBD_VERSION_STR) <= WNBD_MAX_VERSION_STR_LENGTH);
    Version->Major = WNBD_VERSION_MAJOR;
    Version->Minor = WNBD_VERSION_MINOR;
    Version->Patch = WNBD_VERSION_PATCH;
    std::memset(Version->Description, 0, sizeof(Version->Description));
    std::memcpy(Version->Description, WNBD_VERSION_STR, sizeof(WNBD_VERSION_STR));
    return ERROR_SUCCESS;
}

DWORD WnbdGetDriverVersion(PWNBD_VERSION Version) {
    if (Version == nullptr) return ERROR_INVALID_PARAMETER;
    return with_adapter(
        [&](HANDLE adapter) { return WnbdIoctlVersion(adapter, Version, nullptr); });
}

DWORD WnbdGetDrvOpt(const char* Name, PWNBD_OPTION_VALUE Value, BOOLEAN Persistent) {
    if (Name == nullptr || Value == nullptr) return ERROR_INVALID_PARAMETER;
    return with_adapter([&](HANDLE adapter) {
        return WnbdIoctlGetDrvOpt(adapter, Name, Value, Persistent, nullptr);
    });
}

DWORD WnbdSetDrvOpt(const char* Name, PWNBD_OPTION_VALUE Value, BOOLEAN Persistent) {
    if (Name == nullptr || Value == nullptr) return ERROR_INVALID_PARAMETER;
    return with_adapter([&](HANDLE adapter) {
        return WnbdIoctlSetDrvOpt(adapter, Name, Value, Persistent, nullptr);
    });
}

DWORD WnbdResetDrvOpt(const char* Name, BOOLEAN Persistent) {
    if (Name == nullptr) return ERROR_INVALID_PARAMETER;
    return with_adapter(
        [&](HANDLE adapter) { return WnbdIoctlResetDrvOpt(adapter, Name, Persistent, nullptr); });
}

DWORD WnbdListDrvOpt(PWNBD_OPTION_LIST OptionList, PDWORD BufferSize, BOOLEAN Persistent) {
    if (BufferSize == nullptr || (OptionList == nullptr && *BufferSize > 0))
        return ERROR_INVALID_PARAMETER;
    return with_adapter([&](HANDLE adapter) {
        return WnbdIoctlListDrvOpt(adapter, OptionList, BufferSize, Persistent, nullptr);
    });
}

}  // extern "C"
