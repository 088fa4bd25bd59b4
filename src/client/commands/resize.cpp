// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <winioctl.h>

#include <cstdint>
#include <string>

#include "client/commands/commands.h"
#include "client/geometry.h"
#include "client/mapped_disks.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

class Handle {
  public:
    Handle() = default;
    explicit Handle(HANDLE handle) noexcept : handle_(handle) {}
    ~Handle() {
        if (valid()) CloseHandle(handle_);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    [[nodiscard]] bool valid() const noexcept {
        return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE;
    }
    [[nodiscard]] HANDLE get() const noexcept { return handle_; }
    [[nodiscard]] HANDLE* address() noexcept { return &handle_; }

  private:
    HANDLE handle_ = nullptr;
};

HANDLE open_drive(INT number) {
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(number);
    return CreateFileA(path.c_str(), GENERIC_READ | GENERIC_WRITE,
                       FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr, OPEN_EXISTING, 0, nullptr);
}

/// The driver tells whoever sends the next command that the capacity has changed; this is the
/// command.
DWORD read_capacity_again(HANDLE drive) {
    DWORD returned = 0;
    return DeviceIoControl(drive, IOCTL_DISK_UPDATE_PROPERTIES, nullptr, 0, nullptr, 0, &returned,
                           nullptr)
               ? ERROR_SUCCESS
               : GetLastError();
}

}  // namespace

DWORD run_resize(const Arguments& arguments) {
    const std::string name = arguments.text("instance-name");
    if (name.empty()) return report_missing("instance name");
    const std::string what = "Could not resize the disk " + in_quotes(name);
    MappedDisk mapped;
    const DiskOutcome found = find_disk(name, mapped);
    if (found.code != ERROR_SUCCESS)
        return report_failure(Task::resize, what, found.code, found.detail);
    if (mapped.driverless) {
        return report_failure(Task::resize, what, ERROR_NOT_SUPPORTED,
                              "a driverless disk keeps its size until it is mapped again");
    }
    const WNBD_CONNECTION_INFO& disk = mapped.info;

    const std::uint64_t size = arguments.number("size", 0);
    const std::uint32_t block_size = disk.Properties.BlockSize;
    if (block_size == 0) return report_failure(Task::resize, what, ERROR_INVALID_DATA);
    if (const auto complaint = size_complaint("size", size, block_size); !complaint.empty())
        return refuse(complaint, ERROR_INVALID_PARAMETER);
    // All that can be missing is looked for before the driver learns the new size.
    if (disk.DiskNumber < 0) return report_failure(Task::resize, what, ERROR_NOT_READY);
    const Handle drive(open_drive(disk.DiskNumber));
    if (!drive.valid()) return report_failure(Task::resize, what, GetLastError());
    Handle adapter;
    DWORD code = WnbdOpenAdapter(adapter.address());
    if (code != ERROR_SUCCESS) return report_adapter_failure(what, ERROR_OPEN_FAILED, code);

    code = WnbdIoctlSetDiskSize(adapter.get(), disk.ConnectionId, size / block_size, nullptr);
    if (code == ERROR_SUCCESS) code = read_capacity_again(drive.get());
    return code == ERROR_SUCCESS ? code : report_failure(Task::resize, what, code);
}

}  // namespace wnbd::client
