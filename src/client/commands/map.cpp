// SPDX-License-Identifier: LGPL-2.1-or-later
// map serves its disk in this process, which therefore lives as long as the disk does: as a command
// of its own it does not return before the disk is gone. In the shell it returns as soon as Windows
// has the disk, which the shell's process goes on serving: all of it is in memory, while a process
// of its own would have to be loaded from a disk that may not work any more.
#include <windows.h>

#include <memory>
#include <string>

#include "client/commands/commands.h"
#include "client/fields.h"
#include "client/library_log.h"
#include "client/map_plan.h"
#include "client/mapped_disks.h"
#include "client/served_disk.h"
#include "client/session.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

constexpr DWORD poll_ms = 50;
/// Windows has taken this long to number a disk that it knows already: it may never.
constexpr ULONGLONG number_wait_ms = 30 * 1000;

/// What would fail anyway is told before a server is bothered.
DWORD check_before_mapping(const std::string& name, const std::string& what, bool driverless) {
    if (!driverless) {
        HANDLE adapter = nullptr;
        const DWORD opened = WnbdOpenAdapter(&adapter);
        if (opened != ERROR_SUCCESS) return report_adapter_failure(what, ERROR_OPEN_FAILED, opened);
        CloseHandle(adapter);
    }
    MappedDisk disk;
    if (find_disk(name, disk).code != ERROR_SUCCESS) return ERROR_SUCCESS;
    return report_failure(Task::map, what, ERROR_ALREADY_EXISTS);
}

DWORD tell_of_disk(const ServedDisk& disk, INT number, OutputFormat format) {
    if (format == OutputFormat::json) {
        return print(json_text(Record{{"InstanceName", disk.name()},
                                      {"DiskNumber", static_cast<std::int64_t>(number)}}));
    }
    const std::string place =
        number < 0 ? "no disk number yet" : "\\\\.\\PhysicalDrive" + std::to_string(number);
    return print(in_quotes(disk.name()) + " is mapped (" + place +
                 "), and served until it is unmapped or the shell ends.\n");
}

DWORD map_in_shell(const std::shared_ptr<ServedDisk>& disk, const std::string& what,
                   OutputFormat format) {
    forget_ended_disks();
    register_served_disk(disk);
    if (!disk->serve_in_background()) {
        return report_failure(Task::map, what, ERROR_NO_SYSTEM_RESOURCES);
    }
    ULONGLONG mapped_at = 0;
    while (!disk->wait(poll_ms)) {
        INT number = -1;
        if (!disk->is_mapped(number)) continue;
        const ULONGLONG now = GetTickCount64();
        if (mapped_at == 0) mapped_at = now;
        if (number >= 0 || now - mapped_at >= number_wait_ms) {
            return tell_of_disk(*disk, number, format);
        }
    }
    const DWORD code = disk->code();
    forget_ended_disks();
    return code;
}

}  // namespace

DWORD run_map(const Arguments& arguments) {
    const auto planned = plan_map(arguments, static_cast<std::int32_t>(GetCurrentProcessId()));
    if (!planned) return refuse(planned.error().text, planned.error().code);
    const MapPlan& plan = planned.value();
    if (!plan.remark.empty()) print_complaint(plan.remark);

    const std::string name = plan.properties.InstanceName;
    const std::string what = "Could not map the disk " + in_quotes(name);
    if (const DWORD code = check_before_mapping(name, what, plan.driverless); code != ERROR_SUCCESS)
        return code;
    const LogUse log_use = arguments.has("debug") ? LogUse::debug : LogUse::serving;
    const auto disk = std::make_shared<ServedDisk>(plan, log_use);
    if (in_shell()) return map_in_shell(disk, what, arguments.format());

    register_served_disk(disk);
    const DWORD watched = watch_control_events();
    if (watched != ERROR_SUCCESS) return report_failure(Task::map, what, watched);
    return disk->serve();
}

}  // namespace wnbd::client
