// SPDX-License-Identifier: LGPL-2.1-or-later
// The login phase of one connection (RFC 7143, 6 and 13; CHAP: 12.1.3) as a state machine without
// I/O: a login request in, a login response out, until the full feature phase or a refusal.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "iscsi/chap.h"
#include "iscsi/negotiation.h"
#include "iscsi/parameters.h"
#include "iscsi/pdu.h"
#include "iscsi/refusal.h"
#include "iscsi/target_settings.h"
#include "iscsi/text.h"

namespace wnbd::iscsi {

/// The question whether a login may enter a session is the target's: it has them all.
class SessionDirectory {
  public:
    struct Admission {
        LoginStatus status = LoginStatus::success;
        std::uint16_t tsih = 0;   // the session's, when it may enter
        const char* reason = "";  // when it may not: the end of a line of the log
    };
    /// Asked once, before the last login response. A normal session of the same initiator port that
    /// is there already is reinstated (RFC 7143, 6.3.5).
    virtual Admission admit(const LoginHeader& request, const Parameters& parameters) noexcept = 0;

  protected:
    ~SessionDirectory() = default;
};

/// One login. Not thread-safe.
class Login {
  public:
    /// `settings` and `directory` outlive it. `random` makes CHAP's challenges. May throw
    /// std::bad_alloc.
    Login(const TargetSettings& settings, SessionDirectory& directory,
          RandomSource random = fill_random);
    Login(const Login&) = delete;
    Login& operator=(const Login&) = delete;

    enum class Progress : std::uint8_t {
        goes_on,       // send the response, expect another request
        full_feature,  // send the response; parameters() hold from the next PDU on
        refused,       // send the response (its status says why), then close
        broken,        // nothing to send: close
    };
    struct Step {
        Progress progress = Progress::goes_on;
        LoginResponse response{};  // all but `numbers`; data_length = text.size()
        /// Valid until the next call; at most default_segment_length bytes.
        std::span<const std::uint8_t> text{};
        /// Of a refusal or a break, for the log: one line, no secret in it, nothing unprintable.
        /// Valid until the next call.
        std::string_view reason{};
    };
    /// `data` is the PDU's data segment, without its padding. Any opcode may come. Not to be called
    /// any more after a step that did not go on.
    [[nodiscard]] Step receive(HeaderView header, std::span<const std::uint8_t> data) noexcept;

    [[nodiscard]] const Parameters& parameters() const noexcept { return parameters_; }
    [[nodiscard]] std::uint16_t tsih() const noexcept { return tsih_; }
    [[nodiscard]] std::uint16_t connection_id() const noexcept { return first_.connection_id; }
    [[nodiscard]] const std::array<std::uint8_t, 6>& isid() const noexcept { return first_.isid; }

  private:
    Refusal take(HeaderView header, const LoginHeader& request, std::span<const std::uint8_t> data);
    Refusal check(const LoginHeader& request);
    Refusal answer_text(const LoginHeader& request);
    Refusal take_keys(ChapKeys& chap);
    Refusal check_names();
    Refusal choose_method(std::string_view offered);
    Refusal authenticate(const ChapKeys& keys, bool transit);
    Refusal enter(const LoginHeader& request);
    static LoginResponse response_to(const LoginHeader& request) noexcept;
    Step refuse(const LoginHeader& request, Refusal refused) noexcept;

    const TargetSettings& settings_;
    SessionDirectory& directory_;
    Parameters parameters_;
    Negotiation negotiation_;
    ChapTarget chap_;
    LoginHeader first_;
    TextInput input_;
    TextWriter output_;
    std::string reason_;
    Stage stage_ = Stage::security;
    unsigned requests_ = 0;
    std::uint16_t tsih_ = 0;
    bool named_ = false;  // the first whole text is in
    bool chap_chosen_ = false;
    bool moves_on_ = false;  // the request under way ends its stage
};

}  // namespace wnbd::iscsi
