// SPDX-License-Identifier: LGPL-2.1-or-later
// Windows's iSCSI initiator.
#pragma once

#include <windows.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"

namespace wnbd::client {

/// `code` is a Win32 error or one of the initiator's (0xEFFFxxxx); `text` says what failed and why,
/// without a full stop.
struct InitiatorFault {
    DWORD code = ERROR_SUCCESS;
    std::string text{};
    /// The session's disk is in use: it may work later.
    bool in_use = false;
};

struct LoginTarget {
    std::string address;  // an IP address
    std::uint16_t port = 0;
    std::string name;  // iqn....
    std::string user;  // CHAP
    std::string secret;
};

/// As the initiator numbers its sessions.
struct InitiatorSession {
    std::uint64_t adapter = 0;
    std::uint64_t specific = 0;
};

/// What Windows made of a session's first logical unit.
struct InitiatorDisk {
    INT number = -1;  // N of \\.\PhysicalDriveN
    std::wstring instance_id{};
    USHORT bus = 0;
    USHORT target = 0;
    USHORT lun = 0;
};

/// All calls block as long as Windows takes; from any thread.
class Initiator {
  public:
    /// Loads the initiator's library and starts its service if that is stopped.
    [[nodiscard]] static Result<std::unique_ptr<Initiator>, InitiatorFault> open();
    virtual ~Initiator() = default;

    /// Neither the target nor the login outlives a restart of Windows.
    [[nodiscard]] virtual Result<InitiatorSession, InitiatorFault> log_in(
        const LoginTarget& target) = 0;

    /// Windows first lets go of the disk, or says that it is in use. A session that is not there
    /// any more is success.
    [[nodiscard]] virtual std::optional<InitiatorFault> log_out(
        const InitiatorSession& session) = 0;

    /// False once the session has been logged out, by whomever.
    [[nodiscard]] virtual bool has_session(const InitiatorSession& session) = 0;

    /// Nothing as long as Windows has not started the disk.
    [[nodiscard]] virtual std::optional<InitiatorDisk> disk_of(const InitiatorSession& session) = 0;

    /// Takes the disk away from whoever has it open: volumes on it are dismounted.
    virtual void take_offline(const InitiatorDisk& disk) noexcept = 0;

    /// Logs out of the targets of these names, as far as Windows lets go of their disks.
    virtual void forget_targets(const std::function<bool(const std::string& name)>& unwanted) = 0;
};

/// Starts the service of the initiator, MSiSCSI, if it is stopped, and waits until it runs, for
/// half a minute at most.
[[nodiscard]] std::optional<InitiatorFault> start_initiator_service();

}  // namespace wnbd::client
