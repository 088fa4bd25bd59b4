// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's iSCSI initiator: one session of one connection, with just what a disk's start needs
// (RFC 7143). It takes a target by its word only where the target is ours to test: answers that do
// not fit are errors.
#pragma once

#include <winsock2.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace wnbd::lab {

// As iscsierr.h of the Windows SDK numbers them.
constexpr std::uint32_t login_failed = 0xEFFF0002;
constexpr std::uint32_t connection_failed = 0xEFFF0003;
constexpr std::uint32_t authentication_failure = 0xEFFF0009;
constexpr std::uint32_t target_not_found = 0xEFFF000B;
constexpr std::uint32_t invalid_session = 0xEFFF001C;
constexpr std::uint32_t scsi_request_failed = 0xEFFF001D;
constexpr std::uint32_t device_busy = 0xEFFF0040;

struct Login {
    std::string address;
    std::uint16_t port = 0;
    std::string target;  // empty: a discovery session
    std::string user;
    std::string secret;
};

struct Pdu {
    std::array<std::uint8_t, 48> header{};
    std::vector<std::uint8_t> data;
};

/// Errors are the codes above, 0 on success. One thread at a time, but for alive().
class Session {
  public:
    Session() = default;
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    [[nodiscard]] std::uint32_t log_in(const Login& login);
    [[nodiscard]] std::uint32_t send_targets(std::vector<std::string>& names);
    /// What Windows asks of a new disk: identity, capacity, the first blocks.
    [[nodiscard]] std::uint32_t start_disk();
    /// From now on a thread answers the target's pings. No calls but the two below any more.
    void keep();
    void log_out();
    /// False once the target has cut the connection.
    [[nodiscard]] bool alive() const noexcept { return alive_; }

  private:
    struct Reply {
        std::uint8_t status = 0;
        std::vector<std::uint8_t> data;
    };

    [[nodiscard]] bool send(Pdu& pdu);
    [[nodiscard]] bool receive(Pdu& pdu);
    [[nodiscard]] bool receive_all(std::span<std::uint8_t> to);
    /// One exchange of the login phase.
    [[nodiscard]] std::uint32_t exchange(std::uint8_t flags, const std::string& keys,
                                         std::string& answer);
    [[nodiscard]] std::uint32_t authenticate(const Login& login);
    [[nodiscard]] std::optional<Reply> command(std::span<const std::uint8_t> cdb,
                                               std::uint32_t length);
    void number(Pdu& request, bool immediate);
    /// Answers what the target asks by itself. True: it was such a PDU.
    bool handle_unasked(const Pdu& pdu);
    void idle();

    SOCKET socket_ = INVALID_SOCKET;
    std::uint32_t command_sn_ = 1;
    std::uint32_t expected_status_sn_ = 0;
    std::uint32_t task_tag_ = 1;
    std::uint16_t tsih_ = 0;
    std::uint8_t isid_tail_ = 0;
    std::mutex mutex_;  // of the connection, once keep() was called
    std::atomic<bool> alive_{false};
    std::atomic<bool> stops_{false};
    std::thread thread_;
};

}  // namespace wnbd::lab
