// SPDX-License-Identifier: LGPL-2.1-or-later
// The mapped disks, whichever way Windows has them: through the driver, or driverless through its
// iSCSI initiator, which needs no driver to be there.
#pragma once

#include <windows.h>

#include <string>
#include <vector>

#include "wnbd.h"

namespace wnbd::client {

struct MappedDisk {
    WNBD_CONNECTION_INFO info{};
    bool driverless = false;
};

/// What came of it: a Win32 error, and more about it where the library's log has nothing to say.
struct DiskOutcome {
    DWORD code = ERROR_SUCCESS;
    std::string detail{};
};

/// The driver's disks, then the driverless ones. Without a driver that answers it is a failure only
/// if there is no driverless disk either. A failure that is `reported` has been told already.
DWORD list_disks(std::vector<WNBD_CONNECTION_INFO>& disks, bool& reported);

DiskOutcome find_disk(const std::string& name, MappedDisk& disk);

/// Time stamps on the clock of GetTickCount64, in 100 ns.
DiskOutcome read_counters(const std::string& name, WNBD_DRV_STATS& stats);

/// As WnbdRemoveEx. With `tell`, each refusal of Windows is told as it comes.
DiskOutcome remove_disk(const std::string& name, const WNBD_REMOVE_OPTIONS& options, bool tell);

}  // namespace wnbd::client
