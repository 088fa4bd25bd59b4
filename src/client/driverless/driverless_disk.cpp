// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/driverless_disk.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "client/driverless/driverless_plan.h"
#include "client/mapped_disks.h"
#include "client/system.h"

namespace wnbd::client {
namespace {

constexpr DWORD poll_ms = 500;
constexpr ULONGLONG session_check_ms = 3000;
/// Windows starts a disk within seconds; after this the user is told that it has not.
constexpr ULONGLONG disk_wait_ms = 60 * 1000;
constexpr unsigned last_logouts = 3;
constexpr wchar_t naming_mutex[] = L"Global\\wnbd-driverless-naming";
constexpr DWORD naming_wait_ms = 30 * 1000;

/// Held from the question whether a name is free until it is taken.
class Naming {
  public:
    Naming() : mutex_(CreateMutexW(nullptr, FALSE, naming_mutex)) {
        const DWORD waited = WaitForSingleObject(mutex_.get(), naming_wait_ms);
        held_ = waited == WAIT_OBJECT_0 || waited == WAIT_ABANDONED;
    }
    ~Naming() {
        if (held_) ReleaseMutex(mutex_.get());
    }
    Naming(const Naming&) = delete;
    Naming& operator=(const Naming&) = delete;

    [[nodiscard]] bool held() const noexcept { return held_; }

  private:
    OwnedHandle mutex_;
    bool held_ = false;
};

}  // namespace

DriverlessDisk::DriverlessDisk(const MapPlan& plan, bool debug)
    : plan_(plan), debug_(debug), gone_(CreateEventW(nullptr, TRUE, FALSE, nullptr)) {}

DWORD DriverlessDisk::fail(DWORD code, std::string detail) {
    detail_ = std::move(detail);
    return code;
}

DWORD DriverlessDisk::run() {
    if (!gone_.valid()) return ERROR_NO_SYSTEM_RESOURCES;
    auto opened = Initiator::open();
    if (!opened) return fail(opened.error().code, opened.error().text);
    initiator_ = std::move(opened.value());
    auto started = DriverlessTarget::start(plan_, debug_);
    if (!started) return fail(started.error().code, started.error().text);
    target_ = std::move(started.value());

    DWORD code = ERROR_SUCCESS;
    {
        ControlServer control([this](ControlRequest request) { return answer(request); });
        code = announce(control);
        if (code == ERROR_SUCCESS) {
            forget_orphans();
            code = attach();
        }
        if (code == ERROR_SUCCESS) code = serve();
        control.withdraw();
        let_go();
    }
    std::string unwritten = target_->stop();
    if (code == ERROR_SUCCESS && !unwritten.empty())
        return fail(ERROR_WRITE_FAULT, std::move(unwritten));
    return code;
}

DWORD DriverlessDisk::announce(ControlServer& control) {
    const Naming naming;
    if (!naming.held()) return ERROR_TIMEOUT;
    MappedDisk other;
    if (find_disk(plan_.properties.InstanceName, other).code == ERROR_SUCCESS)
        return ERROR_ALREADY_EXISTS;
    const DWORD code = control.start();
    return code == ERROR_SUCCESS ? code : fail(code, "the control pipe could not be made");
}

/// Windows goes on trying to reach the target of a process that was killed. The target's name tells
/// the process, and whether that is there, the list of pipes.
void DriverlessDisk::forget_orphans() {
    const std::vector<ControlPeer> peers = control_peers();
    const auto is_listed = [&peers](DWORD pid) {
        return std::ranges::any_of(peers,
                                   [pid](const ControlPeer& peer) { return peer.pid == pid; });
    };
    if (!is_listed(GetCurrentProcessId())) return;
    initiator_->forget_targets([&](const std::string& name) {
        const auto pid = driverless_process(name);
        return pid && !is_listed(*pid);
    });
}

DWORD DriverlessDisk::attach() {
    auto session = initiator_->log_in(target_->login());
    if (!session) return fail(session.error().code, session.error().text);
    const std::lock_guard lock(mutex_);
    session_ = session.value();
    return ERROR_SUCCESS;
}

/// Blocks until the session is over, or the storage is lost.
DWORD DriverlessDisk::serve() {
    const ULONGLONG start = GetTickCount64();
    ULONGLONG checked = start;
    bool known = false;
    bool told = false;
    while (WaitForSingleObject(gone_.get(), poll_ms) == WAIT_TIMEOUT) {
        if (std::string why = target_->failure(); !why.empty())
            return fail(ERROR_CONNECTION_ABORTED, std::move(why));
        const ULONGLONG now = GetTickCount64();
        known = known || wait_for_disk();
        if (!known && !told && now - start >= disk_wait_ms) {
            print_complaint("Note: Windows has logged in, but has made no disk of it yet.");
            told = true;
        }
        if (now - checked < session_check_ms) continue;
        checked = now;
        // Somebody may have logged it out, in the control panel for one.
        if (initiator_->has_session(*session_)) continue;
        const std::lock_guard lock(mutex_);
        over_ = true;
        logged_out_ = true;
        break;
    }
    return ERROR_SUCCESS;
}

bool DriverlessDisk::wait_for_disk() {
    auto disk = initiator_->disk_of(*session_);
    if (!disk) return false;
    const std::lock_guard lock(mutex_);
    disk_ = std::move(disk);
    return true;
}

/// Whatever the reason of the end: no session is to be left to the initiator.
void DriverlessDisk::let_go() {
    const std::lock_guard removal(removal_);
    {
        const std::lock_guard lock(mutex_);
        over_ = true;
        if (!session_ || logged_out_) return;
    }
    for (unsigned i = 0; i < last_logouts; ++i) {
        if (!initiator_->log_out(*session_)) return;
        Sleep(poll_ms);
    }
}

ControlAnswer DriverlessDisk::answer(ControlRequest request) {
    switch (request) {
        case ControlRequest::show: return show();
        case ControlRequest::stats: return {.stats = target_->stats()};
        case ControlRequest::remove_soft: return remove(false);
        case ControlRequest::remove_hard: return remove(true);
    }
    return {.code = ERROR_NOT_SUPPORTED};
}

ControlAnswer DriverlessDisk::show() {
    const std::lock_guard lock(mutex_);
    if (over_) return {.code = ERROR_FILE_NOT_FOUND};
    WNBD_CONNECTION_INFO info{};
    info.Properties = target_->properties();
    info.DiskNumber = -1;
    if (disk_) {
        info.DiskNumber = disk_->number;
        info.BusNumber = disk_->bus;
        info.TargetId = disk_->target;
        info.Lun = disk_->lun;
        const std::size_t units =
            std::min<std::size_t>(disk_->instance_id.size(), WNBD_MAX_NAME_LENGTH - 1);
        std::copy_n(disk_->instance_id.begin(), units, info.PNPDeviceID);
    }
    return {.disk = info};
}

ControlAnswer DriverlessDisk::remove(bool hard) {
    const std::lock_guard removal(removal_);
    std::optional<InitiatorSession> session;
    std::optional<InitiatorDisk> disk;
    {
        const std::lock_guard lock(mutex_);
        if (over_) return {.code = ERROR_FILE_NOT_FOUND};
        session = session_;
        disk = disk_;
    }
    // Before the login there is nothing to remove yet; it is over in a moment, or has failed.
    if (!session) return {.code = ERROR_BUSY, .text = "Windows is logging in to it"};
    if (hard && disk) initiator_->take_offline(*disk);
    const auto fault = initiator_->log_out(*session);
    if (fault && !hard)
        return {.code = fault->in_use ? DWORD{ERROR_BUSY} : fault->code, .text = fault->text};
    {
        // A session that Windows does not end is cut off with the target.
        const std::lock_guard lock(mutex_);
        over_ = true;
        logged_out_ = !fault;
    }
    SetEvent(gone_.get());
    return {};
}

}  // namespace wnbd::client
