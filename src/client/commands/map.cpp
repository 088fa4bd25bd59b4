// SPDX-License-Identifier: LGPL-2.1-or-later
// map runs until its disk is gone. Control events remove the disk; the end of the process would,
// too, but only the removal lets Windows write its caches first.
#include <windows.h>
#include <winsock2.h>

#include <string>

#include "client/commands/commands.h"
#include "client/control_state.h"
#include "client/library_log.h"
#include "client/map_plan.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

constexpr DWORD soft_removal_timeout_ms = 3000;
constexpr DWORD soft_removal_retry_interval_ms = 1000;
// Windows ends the process about five seconds after a close event; removal may have used three.
constexpr DWORD orderly_exit_wait_ms = 1500;

/// What the control handler may touch; set up before it is registered and never taken down.
struct Serving {
    std::string name;
    ControlState control;
    HANDLE ended = CreateEventW(nullptr, TRUE, FALSE, nullptr);
};

Serving& serving() {
    static Serving instance;
    return instance;
}

/// The name may belong to another process: ours may not have mapped its disk yet, or not any more.
bool disk_is_ours(const std::string& name) {
    WNBD_CONNECTION_INFO disk{};
    return WnbdShow(name.c_str(), &disk) == ERROR_SUCCESS &&
           static_cast<DWORD>(disk.Properties.Pid) == GetCurrentProcessId();
}

DWORD remove_disk(const std::string& name, bool hard) {
    WNBD_REMOVE_OPTIONS options{};
    options.Flags.HardRemove = hard ? 1 : 0;
    options.Flags.HardRemoveFallback = 1;
    options.SoftRemoveTimeoutMs = soft_removal_timeout_ms;
    options.SoftRemoveRetryIntervalMs = soft_removal_retry_interval_ms;
    return WnbdRemoveEx(name.c_str(), &options);
}

/// FALSE leaves the event to Windows, which ends the process. That is right when there is no disk
/// to remove, and the last resort when it cannot be removed.
BOOL WINAPI on_control_event(DWORD event) {
    Serving& state = serving();
    const ControlAction action = state.control.next();
    if (action != ControlAction::none) {
        if (print("Received control signal, cleaning up.\n") != ERROR_SUCCESS) {
            // Nobody reads the output any more; the disk is to be removed all the same.
        }
        if (!disk_is_ours(state.name)) return FALSE;
        const DWORD code = remove_disk(state.name, action == ControlAction::remove_hard);
        if (code != ERROR_SUCCESS && code != ERROR_FILE_NOT_FOUND) {
            report_failure(Task::unmap, "Could not unmap the disk " + in_quotes(state.name), code);
            return FALSE;
        }
    }
    // After these events Windows ends the process as soon as the handler returns.
    const bool final = event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT;
    if (final) WaitForSingleObject(state.ended, orderly_exit_wait_ms);
    return TRUE;
}

/// What would fail anyway is told before a server is bothered.
DWORD check_before_mapping(const std::string& name, const std::string& what) {
    HANDLE adapter = nullptr;
    const DWORD opened = WnbdOpenAdapter(&adapter);
    if (opened != ERROR_SUCCESS) return report_adapter_failure(what, ERROR_OPEN_FAILED, opened);
    CloseHandle(adapter);
    WNBD_CONNECTION_INFO disk{};
    if (WnbdShow(name.c_str(), &disk) != ERROR_SUCCESS) return ERROR_SUCCESS;
    return report_failure(Task::map, what, ERROR_ALREADY_EXISTS);
}

DWORD serve(MapPlan& plan, const std::string& what) {
    WSADATA sockets{};
    if (const int code = WSAStartup(MAKEWORD(2, 2), &sockets); code != 0) {
        return report_failure(Task::map, "Could not initialise Windows Sockets",
                              static_cast<DWORD>(code));
    }
    Serving& state = serving();
    state.name = plan.properties.InstanceName;
    DWORD code = ERROR_SUCCESS;
    if (SetConsoleCtrlHandler(on_control_event, TRUE) == FALSE) {
        code = GetLastError();
    } else if (plan.backend_uri.empty()) {
        code = WnbdRunNbdDaemon(&plan.properties);
    } else {
        code = WnbdRunBackendDaemon(&plan.properties, plan.backend_uri.c_str());
    }
    state.control.finished();
    WSACleanup();
    if (code == ERROR_CONNECTION_ABORTED) {
        report_failure(Task::map, "Could not go on serving the disk " + in_quotes(state.name),
                       code);
    } else if (code != ERROR_SUCCESS) {
        report_failure(Task::map, what, code);
    }
    SetEvent(state.ended);
    return code;
}

}  // namespace

DWORD run_map(const Arguments& arguments) {
    auto planned = plan_map(arguments, static_cast<std::int32_t>(GetCurrentProcessId()));
    if (!planned) return refuse(planned.error().text, planned.error().code);
    MapPlan& plan = planned.value();
    if (!plan.remark.empty()) print_complaint(plan.remark);

    const std::string name = plan.properties.InstanceName;
    const std::string what = "Could not map the disk " + in_quotes(name);
    if (const DWORD code = check_before_mapping(name, what); code != ERROR_SUCCESS) return code;
    if (!arguments.has("debug")) use_library_log(LogUse::serving);
    return serve(plan, what);
}

}  // namespace wnbd::client
