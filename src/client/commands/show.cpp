// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <string>

#include "client/commands/commands.h"
#include "client/disk_text.h"
#include "client/mapped_disks.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

/// Asks the disk itself. The limits are worth a remark when they cannot be had, not a failure: the
/// disk may be offline, or be starting or going at this moment.
IoLimits read_io_limits(INT disk_number) {
    if (disk_number < 0) return {};
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(disk_number);
    // No access right is asked for: the query needs none, and a reader is not disturbed by it.
    const HANDLE disk = CreateFileA(path.c_str(), 0, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                                    OPEN_EXISTING, 0, nullptr);
    DWORD code = ERROR_SUCCESS;
    DWORD per_lun = 0;
    DWORD per_adapter = 0;
    if (disk == INVALID_HANDLE_VALUE) {
        code = GetLastError();
    } else {
        code = WnbdIoctlGetIOLimits(disk, &per_lun, &per_adapter, nullptr);
        CloseHandle(disk);
    }
    if (code != ERROR_SUCCESS) {
        print_complaint(failure_text("Note: the I/O limits of " + path + " could not be read",
                                     system_error_text(code), {.task = Task::disk, .code = code}));
        return {};
    }
    return {.per_lun = per_lun, .per_adapter = per_adapter};
}

}  // namespace

DWORD run_show(const Arguments& arguments) {
    const std::string name = arguments.text("instance-name");
    if (name.empty()) return report_missing("instance name");
    MappedDisk disk;
    const DiskOutcome found = find_disk(name, disk);
    if (found.code != ERROR_SUCCESS) {
        return report_failure(Task::disk, "Could not show the disk " + in_quotes(name), found.code,
                              found.detail);
    }
    return print(show_text(disk.info, read_io_limits(disk.info.DiskNumber), arguments.format()));
}

}  // namespace wnbd::client
