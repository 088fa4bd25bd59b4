// SPDX-License-Identifier: LGPL-2.1-or-later
// A target's sessions and the initiator ports behind them (RFC 7143, 6.3; SAM-5: I_T nexuses).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "iscsi/login.h"
#include "scsi/reservations.h"

namespace wnbd::iscsi {

/// The connection that a session runs on. Both calls come from any thread, under the table's lock,
/// between enter() and leave(): they only take a note and see to it that it is read.
class SessionHolder {
  public:
    /// Another login has taken the session's place: end the tasks, close, leave().
    virtual void evicted() noexcept = 0;
    /// The session that was in the way has gone: the login may be answered.
    virtual void turn_has_come() noexcept = 0;

  protected:
    ~SessionHolder() = default;
};

/// Thread-safe. An initiator port (name and ISID) has the same nexus number for as long as it has a
/// session or a registration.
class SessionTable final : public scsi::NexusNames {
  public:
    /// `registered` tells, from any thread, whether any logical unit knows a nexus as registered.
    SessionTable(std::uint32_t sessions_max, std::function<bool(scsi::Nexus)> registered);

    struct Entry {
        LoginStatus status = LoginStatus::success;
        const char* reason = "";  // of a refusal
        std::uint16_t tsih = 0;
        scsi::Nexus nexus = 0;
        bool waits = false;      // for another session of the same port: turn_has_come() will tell
        bool continues = false;  // the session goes on on this connection: the nexus was not lost
    };
    /// Does not throw: without memory the status says so.
    [[nodiscard]] Entry enter(SessionHolder& holder, const LoginHeader& request,
                              const Parameters& parameters) noexcept;
    /// The holder's tasks have ended. True when the nexus is lost with it, which is called for each
    /// unit by `lose` before the next session of the port may begin.
    void leave(SessionHolder& holder, const std::function<void(scsi::Nexus)>& lose) noexcept;

    /// TARGET COLD RESET: all sessions end, but that of `but`.
    void evict_others(const SessionHolder& but) noexcept;

    [[nodiscard]] std::uint32_t size() noexcept;

    /// SPC-4 7.6.4.6, TransportID of an initiator port over iSCSI.
    void write_transport_id(scsi::Nexus nexus, ByteWriter& out) const noexcept override;

  private:
    struct Session {
        SessionHolder* holder = nullptr;
        std::uint16_t tsih = 0;
        std::uint16_t connection_id = 0;
        bool continues = false;
    };
    struct Port {
        std::string initiator;  // empty: unused
        std::array<std::uint8_t, 6> isid{};
        Session now;
        Session next;          // waits for `now` to leave
        bool leaving = false;  // `now`'s holder is being taken leave of
    };

    // Under lock_:
    [[nodiscard]] Port* find(const std::string& initiator,
                             const std::array<std::uint8_t, 6>& isid) noexcept;
    [[nodiscard]] Port* find(std::uint16_t tsih) noexcept;
    [[nodiscard]] Port* claim(const std::string& initiator,
                              const std::array<std::uint8_t, 6>& isid);
    [[nodiscard]] std::uint16_t next_tsih() noexcept;
    [[nodiscard]] Entry enter_port(Port& port, const Session& session) noexcept;
    [[nodiscard]] Entry enter_normal(SessionHolder& holder, const LoginHeader& request,
                                     const Parameters& parameters);

    const std::uint32_t sessions_max_;
    const std::function<bool(scsi::Nexus)> registered_;
    mutable std::mutex lock_;  // of everything below
    std::array<Port, scsi::max_nexuses> ports_;
    std::vector<SessionHolder*> discoverers_;
    std::uint32_t sessions_ = 0;  // normal ones, those that wait not counted, and discoverers
    std::uint16_t last_tsih_ = 0;
};

}  // namespace wnbd::iscsi
