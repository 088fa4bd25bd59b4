// SPDX-License-Identifier: LGPL-2.1-or-later
// The end of the process would remove its disks, too, but only a removal lets Windows write its
// caches first.
#include "client/served_disk.h"

#include <winsock2.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "client/driverless/driverless_disk.h"
#include "client/mapped_disks.h"
#include "client/resident.h"
#include "client/session.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

constexpr DWORD soft_removal_timeout_ms = 3000;
constexpr DWORD soft_removal_retry_interval_ms = 1000;
// Windows ends the process about five seconds after a close event; removal may have used three.
constexpr DWORD orderly_exit_wait_ms = 1500;

constexpr DWORD residence_poll_ms = 100;
/// A disk that Windows has not numbered by then is served all the same.
constexpr ULONGLONG number_wait_ms = 5000;

using Disks = std::vector<std::shared_ptr<ServedDisk>>;

/// What the control handler may touch; never taken down.
struct Registry {
    std::mutex mutex;
    Disks disks;
};

Registry& registry() {
    static Registry& instance = *new Registry;
    return instance;
}

Disks served_disks() {
    const std::lock_guard lock(registry().mutex);
    return registry().disks;
}

/// All at once: there are five seconds for all of them.
bool remove_all(const Disks& disks) {
    if (disks.size() == 1) return disks.front()->remove();
    std::atomic<bool> all_removed{!disks.empty()};
    std::vector<std::thread> removals;
    for (const auto& disk : disks) {
        removals.emplace_back([&all_removed, &disk] {
            use_library_log(LogUse::detail);
            if (!disk->remove()) all_removed = false;
            leave_library_log();
        });
    }
    for (std::thread& removal : removals)
        removal.join();
    return all_removed;
}

/// FALSE leaves the event to Windows, which ends the process. That is right when there is no disk
/// to remove, and the last resort when it cannot be removed.
BOOL WINAPI on_control_event(DWORD event) {
    const bool shell = in_shell();
    if (shell && event == CTRL_C_EVENT) return TRUE;
    const Disks disks = served_disks();
    if (!disks.empty() && print("Received control signal, cleaning up.\n") != ERROR_SUCCESS) {
        // Nobody reads the output any more; the disks are to be removed all the same.
    }
    use_library_log(LogUse::detail);
    const bool removed = remove_all(disks);
    leave_library_log();
    if (!removed) return FALSE;
    // After these events Windows ends the process as soon as the handler returns.
    const bool final = shell || (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT);
    for (const auto& disk : disks) {
        if (final && !disk->wait(orderly_exit_wait_ms)) break;
    }
    return shell ? FALSE : TRUE;
}

}  // namespace

ServedDisk::ServedDisk(const MapPlan& plan, LogUse log_use)
    : plan_(plan),
      log_use_(log_use),
      name_(plan.properties.InstanceName),
      ended_(CreateEventW(nullptr, TRUE, FALSE, nullptr)) {}

ServedDisk::~ServedDisk() {
    if (thread_.joinable()) thread_.join();
    CloseHandle(ended_);
}

DWORD ServedDisk::serve() {
    use_library_log(log_use_);
    std::thread keeper;
    try {
        if (is_remote()) keeper = std::thread([this] { stay_resident(); });
    } catch (const std::system_error&) {
        warn_of_unlocked({.unlocked_bytes = 1, .reason = "no thread could be started"});
    }
    code_ = plan_.driverless ? run_driverless() : run_daemon();
    control_.finished();
    if (code_ == ERROR_CONNECTION_ABORTED) {
        report_failure(Task::map, "Could not go on serving the disk " + in_quotes(name_), code_,
                       detail_);
    } else if (code_ != ERROR_SUCCESS) {
        report_failure(Task::map, "Could not map the disk " + in_quotes(name_), code_, detail_);
    }
    SetEvent(ended_);
    if (keeper.joinable()) keeper.join();
    return code_;
}

/// From a server, which may be on this machine; what memory and files stand for is here anyway.
bool ServedDisk::is_remote() const noexcept {
    return plan_.backend_uri.empty() || plan_.backend_uri.find("://") != std::string::npos;
}

/// When Windows has the disk, all is allocated that serving it uses: buffers, tables and threads.
void ServedDisk::stay_resident() {
    use_library_log(LogUse::detail);
    ULONGLONG mapped_at = 0;
    while (!wait(residence_poll_ms)) {
        INT number = -1;
        if (!is_mapped(number)) continue;
        if (mapped_at == 0) mapped_at = GetTickCount64();
        if (number < 0 && GetTickCount64() - mapped_at < number_wait_ms) continue;
        warn_of_unlocked(become_resident());
        break;
    }
    leave_library_log();
}

DWORD ServedDisk::run_daemon() {
    WSADATA sockets{};
    if (const int code = WSAStartup(MAKEWORD(2, 2), &sockets); code != 0) {
        return static_cast<DWORD>(code);
    }
    const DWORD code = plan_.backend_uri.empty()
                           ? WnbdRunNbdDaemon(&plan_.properties)
                           : WnbdRunBackendDaemon(&plan_.properties, plan_.backend_uri.c_str());
    WSACleanup();
    return code;
}

DWORD ServedDisk::run_driverless() {
    try {
        DriverlessDisk disk(plan_, log_use_ == LogUse::debug);
        const DWORD code = disk.run();
        detail_ = disk.detail();
        return code;
    } catch (const std::bad_alloc&) {
        return ERROR_NOT_ENOUGH_MEMORY;
    }
}

bool ServedDisk::serve_in_background() {
    try {
        thread_ = std::thread([this] {
            serve();
            leave_library_log();
        });
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

bool ServedDisk::is_mapped(INT& number) const {
    MappedDisk disk;
    if (find_disk(name_, disk).code != ERROR_SUCCESS) return false;
    number = disk.info.DiskNumber;
    return static_cast<DWORD>(disk.info.Properties.Pid) == GetCurrentProcessId();
}

bool ServedDisk::remove() {
    const ControlAction action = control_.next();
    if (action == ControlAction::none) return true;
    INT number = -1;
    if (!is_mapped(number)) return false;
    WNBD_REMOVE_OPTIONS options{};
    options.Flags.HardRemove = action == ControlAction::remove_hard ? 1 : 0;
    options.Flags.HardRemoveFallback = 1;
    options.SoftRemoveTimeoutMs = soft_removal_timeout_ms;
    options.SoftRemoveRetryIntervalMs = soft_removal_retry_interval_ms;
    const DiskOutcome removed = remove_disk(name_, options, false);
    if (removed.code == ERROR_SUCCESS || removed.code == ERROR_FILE_NOT_FOUND) return true;
    report_failure(Task::unmap, "Could not unmap the disk " + in_quotes(name_), removed.code,
                   removed.detail);
    return false;
}

DWORD watch_control_events() {
    return SetConsoleCtrlHandler(on_control_event, TRUE) == FALSE ? GetLastError() : ERROR_SUCCESS;
}

void register_served_disk(std::shared_ptr<ServedDisk> disk) {
    const std::lock_guard lock(registry().mutex);
    registry().disks.push_back(std::move(disk));
}

void forget_ended_disks() {
    Disks ended;  // destroyed, and their threads awaited, without the lock
    const std::lock_guard lock(registry().mutex);
    Disks& disks = registry().disks;
    const auto rest =
        std::ranges::partition(disks, [](const auto& disk) { return !disk->wait(0); });
    ended.assign(rest.begin(), rest.end());
    disks.erase(rest.begin(), rest.end());
}

void remove_served_disks() {
    forget_ended_disks();
    const Disks disks = served_disks();
    // What cannot be removed ends with the process.
    if (disks.empty() || !remove_all(disks)) return;
    for (const auto& disk : disks) {
        if (!disk->wait(INFINITE)) break;
    }
    forget_ended_disks();
}

}  // namespace wnbd::client
