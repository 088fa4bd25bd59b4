// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/commands/commands.h"
#include "client/disk_text.h"
#include "client/mapped_disks.h"
#include "client/system.h"
#include "client/text.h"

namespace wnbd::client {

DWORD run_stats(const Arguments& arguments) {
    const std::string name = arguments.text("instance-name");
    if (name.empty()) return report_missing("instance name");
    WNBD_DRV_STATS stats{};
    const DiskOutcome read = read_counters(name, stats);
    if (read.code != ERROR_SUCCESS) {
        return report_failure(Task::disk, "Could not read the counters of " + in_quotes(name),
                              read.code, read.detail);
    }
    return print(stats_text(stats, GetTickCount64(), arguments.format()));
}

}  // namespace wnbd::client
