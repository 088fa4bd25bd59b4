// SPDX-License-Identifier: LGPL-2.1-or-later
#include <vector>

#include "client/commands/commands.h"
#include "client/disk_text.h"
#include "client/mapped_disks.h"
#include "client/system.h"

namespace wnbd::client {

DWORD run_list(const Arguments& arguments) {
    std::vector<WNBD_CONNECTION_INFO> disks;
    bool reported = false;
    const DWORD code = list_disks(disks, reported);
    if (code != ERROR_SUCCESS) {
        return reported ? code : report_failure(Task::other, "Could not list the disks", code);
    }
    return print(list_text(disks, arguments.format()));
}

}  // namespace wnbd::client
