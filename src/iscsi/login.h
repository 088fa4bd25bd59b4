// SPDX-License-Identifier: LGPL-2.1-or-later
// The login phase of one connection (RFC 7143, 6 and 13; CHAP: 12.1.3) as a state machine without
// I/O: a login request in, a login response out, until the full feature phase or a refusal.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "iscsi/pdu.h"
#include "iscsi/target_settings.h"

namespace wnbd::iscsi {

/// What both sides have agreed upon. Lengths in bytes.
struct Parameters {
    bool discovery = false;  // SessionType
    std::string initiator_name;
    std::string initiator_alias;
    std::string target_name;
    bool header_digest = false;  // CRC32C
    bool data_digest = false;
    bool initial_r2t = true;
    bool immediate_data = true;
    std::uint32_t max_send_segment = default_segment_length;  // what the initiator receives
    std::uint32_t max_burst = 262144;
    std::uint32_t first_burst = 65536;
    std::uint32_t max_outstanding_r2t = 1;
};

/// The question whether a login may enter a session is the target's: it has them all.
class SessionDirectory {
  public:
    struct Admission {
        LoginStatus status = LoginStatus::success;
        std::uint16_t tsih = 0;  // the session's, when it may enter
    };
    /// Asked once, before the last login response. A normal session of the same initiator port that
    /// is there already is reinstated (RFC 7143, 6.3.5).
    virtual Admission admit(const LoginHeader& request, const Parameters& parameters) noexcept = 0;

  protected:
    ~SessionDirectory() = default;
};

class Login {
  public:
    /// `settings` and `directory` outlive it.
    Login(const TargetSettings& settings, SessionDirectory& directory) noexcept;

    enum class Progress : std::uint8_t {
        goes_on,       // send the response, expect another request
        full_feature,  // send the response; parameters() hold from the next PDU on
        refused,       // send the response (its status says why), then close
        broken,        // nothing to send: close
    };
    struct Step {
        Progress progress = Progress::goes_on;
        LoginResponse response;  // all but `numbers`; data_length = text.size()
        /// Valid until the next call.
        std::span<const std::uint8_t> text;
        /// Of a refusal, for the log: one line, no secret in it, nothing unprintable.
        std::string_view reason;
    };
    /// `data` is the PDU's data segment. Does not throw.
    [[nodiscard]] Step receive(HeaderView header, std::span<const std::uint8_t> data) noexcept;

    [[nodiscard]] const Parameters& parameters() const noexcept;
    [[nodiscard]] std::uint16_t tsih() const noexcept;
    [[nodiscard]] std::uint16_t connection_id() const noexcept;
    [[nodiscard]] const std::array<std::uint8_t, 6>& isid() const noexcept;
};

}  // namespace wnbd::iscsi
