// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/mapped_disks.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "client/commands/growing_list.h"
#include "client/driverless/control_pipe.h"
#include "client/failure_text.h"
#include "client/system.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

constexpr DWORD question_wait_ms = 5000;
/// Windows flushes the disk before it lets go of it.
constexpr DWORD removal_wait_ms = 120 * 1000;

struct Driverless {
    ControlPeer peer;
    WNBD_CONNECTION_INFO info{};
};

/// One that does not answer is worth a remark, but does not hide the others.
std::vector<Driverless> driverless_disks() {
    std::vector<Driverless> disks;
    for (const ControlPeer& peer : control_peers()) {
        auto answer = ask(peer, ControlRequest::show, question_wait_ms);
        if (answer && answer.value().code == ERROR_SUCCESS && answer.value().disk) {
            disks.push_back({.peer = peer, .info = *answer.value().disk});
            continue;
        }
        const DWORD code = answer ? answer.value().code : answer.error();
        if (code == ERROR_FILE_NOT_FOUND || code == ERROR_BROKEN_PIPE)
            continue;  // it has just gone
        print_complaint(failure_text("Note: the driverless disk of process " +
                                         std::to_string(peer.pid) + " could not be asked",
                                     system_error_text(code), {.task = Task::disk, .code = code}));
    }
    return disks;
}

/// The driver does not know the disk, or there is no driver: it may be a driverless one.
bool may_be_driverless(DWORD code) {
    return code == ERROR_FILE_NOT_FOUND || code == ERROR_OPEN_FAILED;
}

std::optional<Driverless> find_driverless(const std::string& name) {
    std::vector<Driverless> disks = driverless_disks();
    const auto found = std::ranges::find_if(disks, [&name](const Driverless& disk) {
        return bounded_text(disk.info.Properties.InstanceName) == name;
    });
    if (found == disks.end()) return std::nullopt;
    return std::move(*found);
}

DiskOutcome outcome_of(const Result<ControlAnswer, DWORD>& answer) {
    if (!answer) return {answer.error(), "the process that serves the disk did not answer"};
    return {answer.value().code, answer.value().text};
}

/// Asks again as long as the disk is in use.
DiskOutcome remove_softly(const Driverless& disk, const WNBD_REMOVE_OPTIONS& options, bool tell) {
    const ULONGLONG start = GetTickCount64();
    for (;;) {
        DiskOutcome outcome =
            outcome_of(ask(disk.peer, ControlRequest::remove_soft, removal_wait_ms));
        if (outcome.code != ERROR_BUSY) return outcome;
        if (tell) print_complaint("Note: the disk is in use: " + outcome.detail + ".");
        const ULONGLONG passed = GetTickCount64() - start;
        const bool for_ever = options.SoftRemoveTimeoutMs == 0;
        if (!for_ever && passed >= options.SoftRemoveTimeoutMs) {
            outcome.code = ERROR_TIMEOUT;
            return outcome;
        }
        const ULONGLONG left = for_ever ? MAXDWORD - 1 : options.SoftRemoveTimeoutMs - passed;
        Sleep(static_cast<DWORD>(std::min<ULONGLONG>(left, options.SoftRemoveRetryIntervalMs)));
    }
}

DiskOutcome remove_driverless(const Driverless& disk, const WNBD_REMOVE_OPTIONS& options,
                              bool tell) {
    if (options.Flags.HardRemove == 0) {
        DiskOutcome outcome = remove_softly(disk, options, tell);
        if (outcome.code == ERROR_SUCCESS || options.Flags.HardRemoveFallback == 0) return outcome;
    }
    return outcome_of(ask(disk.peer, ControlRequest::remove_hard, removal_wait_ms));
}

}  // namespace

DWORD list_disks(std::vector<WNBD_CONNECTION_INFO>& disks, bool& reported) {
    GrowingList<WNBD_CONNECTION_INFO> listed;
    const DWORD code = listed.fill(&WNBD_CONNECTION_LIST::Connections, WnbdList);
    reported = listed.reported();
    if (code == ERROR_SUCCESS) {
        disks.assign(listed.elements().begin(), listed.elements().end());
    } else if (!may_be_driverless(code)) {
        return code;
    }
    const std::vector<Driverless> driverless = driverless_disks();
    for (const Driverless& disk : driverless)
        disks.push_back(disk.info);
    return driverless.empty() ? code : ERROR_SUCCESS;
}

DiskOutcome find_disk(const std::string& name, MappedDisk& disk) {
    disk = {};
    const DWORD code = WnbdShow(name.c_str(), &disk.info);
    if (!may_be_driverless(code)) return {code};
    const auto found = find_driverless(name);
    if (!found) return {code};
    disk = {.info = found->info, .driverless = true};
    return {};
}

DiskOutcome read_counters(const std::string& name, WNBD_DRV_STATS& stats) {
    const DWORD code = WnbdGetDriverStats(name.c_str(), &stats);
    if (!may_be_driverless(code)) return {code};
    const auto found = find_driverless(name);
    if (!found) return {code};
    const auto answer = ask(found->peer, ControlRequest::stats, question_wait_ms);
    DiskOutcome outcome = outcome_of(answer);
    if (outcome.code != ERROR_SUCCESS) return outcome;
    if (!answer.value().stats) return {ERROR_INVALID_DATA};
    stats = *answer.value().stats;
    return {};
}

DiskOutcome remove_disk(const std::string& name, const WNBD_REMOVE_OPTIONS& options, bool tell) {
    WNBD_REMOVE_OPTIONS own = options;
    const DWORD code = WnbdRemoveEx(name.c_str(), &own);
    if (!may_be_driverless(code)) return {code};
    const auto found = find_driverless(name);
    if (!found) return {code};
    return remove_driverless(*found, options, tell);
}

}  // namespace wnbd::client
