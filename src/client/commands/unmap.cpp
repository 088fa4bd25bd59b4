// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/commands/commands.h"
#include "client/commands/seconds.h"
#include "client/mapped_disks.h"
#include "client/system.h"
#include "client/text.h"

namespace wnbd::client {

DWORD run_unmap(const Arguments& arguments) {
    const auto timeout = milliseconds(arguments, "soft-disconnect-timeout", 30);
    const auto interval = milliseconds(arguments, "soft-disconnect-retry-interval", 2);
    if (!timeout || !interval) return ERROR_INVALID_PARAMETER;

    WNBD_REMOVE_OPTIONS options{};
    options.Flags.HardRemove = arguments.has("hard-disconnect") ? 1 : 0;
    options.Flags.HardRemoveFallback = arguments.has("no-hard-disconnect-fallback") ? 0 : 1;
    options.SoftRemoveTimeoutMs = *timeout;
    options.SoftRemoveRetryIntervalMs = *interval;

    const std::string name = arguments.text("instance-name");
    if (name.empty()) return report_missing("instance name");
    const DiskOutcome removed = remove_disk(name, options, arguments.has("debug"));
    if (removed.code == ERROR_SUCCESS) return removed.code;
    return report_failure(Task::unmap, "Could not unmap the disk " + in_quotes(name), removed.code,
                          removed.detail);
}

}  // namespace wnbd::client
