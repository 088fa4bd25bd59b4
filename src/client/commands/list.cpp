// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/commands/commands.h"
#include "client/commands/growing_list.h"
#include "client/disk_text.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {

DWORD run_list(const Arguments& arguments) {
    GrowingList<WNBD_CONNECTION_INFO> disks;
    const DWORD code = disks.fill(&WNBD_CONNECTION_LIST::Connections, WnbdList);
    if (code != ERROR_SUCCESS) {
        return disks.reported() ? code
                                : report_failure(Task::other, "Could not list the disks", code);
    }
    return print(list_text(disks.elements(), arguments.format()));
}

}  // namespace wnbd::client
