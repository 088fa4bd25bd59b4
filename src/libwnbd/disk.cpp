// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/disk.h"

#include <windows.h>

#include <winioctl.h>

#include <limits>
#include <string>

#include "libwnbd/adapter.h"
#include "libwnbd/log.h"

namespace wnbd::libwnbd {

Disk::~Disk() {
    channel.reset();
    for (UINT32 i = 0; i < DispatcherThreadsCount; ++i)
        CloseHandle(DispatcherThreads[i]);
    delete[] DispatcherThreads;
    if (open()) CloseHandle(Handle);
}

DWORD create_disk(const WNBD_PROPERTIES& properties, Disk& disk) {
    disk.Properties = properties;
    UniqueHandle adapter;
    HANDLE handle = nullptr;
    DWORD error = WnbdOpenAdapter(&handle);
    if (error != ERROR_SUCCESS) return error;
    adapter = UniqueHandle(handle);
    error = WnbdIoctlCreate(adapter.get(), &disk.Properties, &disk.ConnectionInfo, nullptr);
    if (error != ERROR_SUCCESS) {
        LOG_ERROR("could not map \"%s\": %s", disk.Properties.InstanceName,
                  error_text(error).c_str());
        return error;
    }
    disk.channel = std::make_unique<IoctlChannel>(adapter.get(), disk.ConnectionInfo.ConnectionId);
    disk.Handle = adapter.release();
    LOG_INFO("mapped \"%s\" as connection %llu", disk.Properties.InstanceName,
             disk.ConnectionInfo.ConnectionId);
    return ERROR_SUCCESS;
}

DWORD show_own(Disk& disk, WNBD_CONNECTION_INFO& info) noexcept {
    const DWORD error = WnbdIoctlShow(disk.Handle, disk.Properties.InstanceName, &info, nullptr);
    if (error != ERROR_SUCCESS) return error;
    const auto own = disk.ConnectionInfo.ConnectionId;
    return info.ConnectionId != 0 && info.ConnectionId != own ? ERROR_FILE_NOT_FOUND
                                                              : ERROR_SUCCESS;
}

namespace {

DWORD open_physical_drive(INT number, DWORD access, UniqueHandle& drive) {
    const std::wstring path = L"\\\\.\\PhysicalDrive" + std::to_wstring(number);
    UniqueHandle handle(CreateFileW(path.c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE,
                                    nullptr, OPEN_EXISTING, 0, nullptr));
    if (!handle.valid()) return last_error();
    drive = std::move(handle);
    return ERROR_SUCCESS;
}

DWORD set_size(Disk& disk, UINT64 block_count) {
    // All that can be missing is looked for before the driver learns the new size.
    WNBD_CONNECTION_INFO info{};
    DWORD error = show_own(disk, info);
    if (error != ERROR_SUCCESS) return error;
    if (info.DiskNumber < 0) return ERROR_NOT_READY;
    UniqueHandle drive;
    error = open_physical_drive(info.DiskNumber, GENERIC_READ | GENERIC_WRITE, drive);
    if (error != ERROR_SUCCESS) {
        LOG_ERROR("could not open disk %d: %s", info.DiskNumber, error_text(error).c_str());
        return error;
    }
    error =
        WnbdIoctlSetDiskSize(disk.Handle, disk.ConnectionInfo.ConnectionId, block_count, nullptr);
    if (error != ERROR_SUCCESS) return error;
    disk.Properties.BlockCount = block_count;
    DWORD returned = 0;
    if (!DeviceIoControl(drive.get(), IOCTL_DISK_UPDATE_PROPERTIES, nullptr, 0, nullptr, 0,
                         &returned, nullptr)) {
        error = last_error();
        LOG_ERROR("Windows did not read the new size of disk %d: %s", info.DiskNumber,
                  error_text(error).c_str());
        return error;
    }
    return ERROR_SUCCESS;
}

/// One look at a disk: SUCCESS, NOT_READY to look again, or a lasting error.
DWORD look_for_number(const char* name, bool expect_mapped, bool try_open, INT& number) {
    WNBD_CONNECTION_INFO info{};
    DWORD error = WnbdShow(name, &info);
    if (error != ERROR_SUCCESS) {
        const bool passing = error == ERROR_FILE_NOT_FOUND || error == error_no_such_device;
        return passing && !expect_mapped ? ERROR_NOT_READY : error;
    }
    if (info.DiskNumber < 0) return ERROR_NOT_READY;
    if (try_open) {
        UniqueHandle drive;
        error = open_physical_drive(info.DiskNumber, GENERIC_READ, drive);
        if (error == ERROR_FILE_NOT_FOUND || error == error_no_such_device) return ERROR_NOT_READY;
        if (error != ERROR_SUCCESS) return error;
    }
    number = info.DiskNumber;
    return ERROR_SUCCESS;
}

}  // namespace

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdCreate(const PWNBD_PROPERTIES Properties, const PWNBD_INTERFACE Interface, PVOID Context,
                 PWNBD_DISK* PDisk) {
    if (Properties == nullptr || PDisk == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&]() -> DWORD {
        auto disk = std::make_unique<Disk>();
        disk->Interface = Interface;
        disk->Context = Context;
        const DWORD error = create_disk(*Properties, *disk);
        if (error == ERROR_SUCCESS) *PDisk = disk.release();
        return error;
    });
}

VOID WnbdClose(PWNBD_DISK Disk) {
    delete wnbd::libwnbd::Disk::of(Disk);
}

DWORD WnbdSetDiskSize(PWNBD_DISK Disk, UINT64 BlockCount) {
    if (Disk == nullptr || BlockCount == 0 || Disk->Properties.BlockSize == 0)
        return ERROR_INVALID_PARAMETER;
    if (BlockCount > std::numeric_limits<UINT64>::max() / Disk->Properties.BlockSize)
        return ERROR_INVALID_PARAMETER;
    auto& disk = *wnbd::libwnbd::Disk::of(Disk);
    if (!disk.open()) return ERROR_NOT_FOUND;
    return guarded([&] { return set_size(disk, BlockCount); });
}

DWORD WnbdPollDiskNumber(const char* InstanceName, BOOLEAN ExpectMapped, BOOLEAN TryOpen,
                         DWORD TimeoutMs, DWORD RetryIntervalMs, PDWORD DiskNumber) {
    if (InstanceName == nullptr || DiskNumber == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&]() -> DWORD {
        const ULONGLONG begin = GetTickCount64();
        for (;;) {
            INT number = -1;
            const DWORD error = look_for_number(InstanceName, ExpectMapped, TryOpen, number);
            if (error == ERROR_SUCCESS) *DiskNumber = static_cast<DWORD>(number);
            if (error != ERROR_NOT_READY) return error;
            const ULONGLONG spent = GetTickCount64() - begin;
            if (spent >= TimeoutMs) return ERROR_TIMEOUT;
            Sleep(static_cast<DWORD>(std::min<ULONGLONG>(RetryIntervalMs, TimeoutMs - spent)));
        }
    });
}

}  // extern "C"
