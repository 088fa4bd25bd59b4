// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/login.h"

#include <cstdio>
#include <new>

namespace wnbd::iscsi {
namespace {

// A login takes a handful of requests; who sends more is not logging in.
constexpr unsigned requests_max = 64;

Refusal initiator_error(std::string reason) {
    return refusal(LoginStatus::initiator_error, std::move(reason));
}
Refusal unauthenticated(std::string reason) {
    return refusal(LoginStatus::authentication_failure, std::move(reason));
}

std::string opcode_text(HeaderView header) {
    char text[8];
    std::snprintf(text, sizeof(text), "0x%02x", opcode_of(header));
    return text;
}

bool same_connection(const LoginHeader& a, const LoginHeader& b) noexcept {
    return a.isid == b.isid && a.tsih == b.tsih && a.connection_id == b.connection_id;
}

/// Stages go up, and there is no stage 2.
bool may_follow(std::uint8_t next, Stage stage) noexcept {
    return (next == static_cast<std::uint8_t>(Stage::operational) ||
            next == static_cast<std::uint8_t>(Stage::full_feature)) &&
           next > static_cast<std::uint8_t>(stage);
}

}  // namespace

Login::Login(const TargetSettings& settings, SessionDirectory& directory, RandomSource random)
    : settings_(settings),
      directory_(directory),
      negotiation_(settings, parameters_),
      chap_(settings, random) {}

Login::Step Login::receive(HeaderView header, std::span<const std::uint8_t> data) noexcept {
    const auto request = read_login(header);
    output_.clear();
    try {
        auto refused = take(header, request, data);
        if (refused) return refuse(request, std::move(refused));
    } catch (const std::bad_alloc&) {
        // Short enough to need no memory itself.
        return refuse(request,
                      {.status = LoginStatus::out_of_resources, .reason = "out of memory"});
    }
    Step step{.response = response_to(request), .text = output_.bytes()};
    step.response.current_stage = request.current_stage;
    step.response.data_length = static_cast<std::uint32_t>(step.text.size());
    if (moves_on_) {
        step.response.transit = true;
        step.response.next_stage = request.next_stage;
        stage_ = static_cast<Stage>(request.next_stage);
        if (stage_ == Stage::full_feature) {
            step.response.tsih = tsih_;
            step.progress = Progress::full_feature;
        }
    }
    return step;
}

Refusal Login::take(HeaderView header, const LoginHeader& request,
                    std::span<const std::uint8_t> data) {
    moves_on_ = false;
    if (opcode_of(header) != static_cast<std::uint8_t>(Opcode::login_request)) {
        // 6.3: silence before a login has begun, an answer within it.
        return {.status = LoginStatus::invalid_request,
                .reason = "opcode " + opcode_text(header) + " instead of a login request",
                .silent = requests_ == 0};
    }
    if (additional_length(header) != 0)
        return initiator_error("a login request has additional header segments");
    if (data.size() > default_segment_length) {
        return initiator_error("a login request has " + std::to_string(data.size()) +
                               " bytes of text; there may be 8192");
    }
    if (auto refused = check(request)) return refused;
    if (!input_.append(data)) {
        return initiator_error("the login text is longer than " + std::to_string(text_limit) +
                               " bytes");
    }
    if (request.continues) return {};  // an empty answer asks for the rest
    return answer_text(request);
}

Refusal Login::check(const LoginHeader& request) {
    if (requests_ == 0) {
        if (request.current_stage > static_cast<std::uint8_t>(Stage::operational))
            return initiator_error("a login cannot begin in stage " +
                                   std::to_string(request.current_stage));
        first_ = request;
        stage_ = static_cast<Stage>(request.current_stage);
    }
    if (++requests_ > requests_max) return initiator_error("the login does not end");
    if (request.version_min > 0) {
        return refusal(LoginStatus::unsupported_version, "the initiator speaks version " +
                                                             std::to_string(request.version_min) +
                                                             " at least; there is version 0");
    }
    if (!request.sequence.immediate) return initiator_error("a login request is not immediate");
    if (!same_connection(request, first_))
        return initiator_error("ISID, TSIH or CID change within a login");
    if (request.current_stage != static_cast<std::uint8_t>(stage_)) {
        return initiator_error("a request of stage " + std::to_string(request.current_stage) +
                               " in stage " + std::to_string(static_cast<unsigned>(stage_)));
    }
    if (request.transit && request.continues)
        return initiator_error("a login request has both the T and the C bit");
    if (request.transit && !may_follow(request.next_stage, stage_)) {
        return initiator_error("stage " + std::to_string(request.next_stage) +
                               " cannot follow stage " + std::to_string(request.current_stage));
    }
    return {};
}

Refusal Login::answer_text(const LoginHeader& request) {
    ChapKeys chap;
    auto refused = take_keys(chap);
    if (!refused && !named_) refused = check_names();
    if (!refused) refused = negotiation_.finish(stage_, output_);
    if (!refused) refused = authenticate(chap, request.transit);
    input_.clear();
    if (refused) return refused;
    if (!output_.complete()) return initiator_error("more keys than one answer has room for");
    moves_on_ = request.transit && (!settings_.initiator || chap_.authenticated());
    if (moves_on_ && request.next_stage == static_cast<std::uint8_t>(Stage::full_feature))
        return enter(request);
    return {};
}

Refusal Login::take_keys(ChapKeys& chap) {
    TextReader reader(input_.text());
    while (const auto pair = reader.next()) {
        if (auto refused = negotiation_.take(*pair, stage_, output_)) return refused;
        if (pair->key == "AuthMethod") {
            if (auto refused = choose_method(pair->value)) return refused;
        } else if (pair->key == "CHAP_A") {
            chap.algorithms = pair->value;
        } else if (pair->key == "CHAP_N") {
            chap.name = pair->value;
        } else if (pair->key == "CHAP_R") {
            chap.response = pair->value;
        } else if (pair->key == "CHAP_I") {
            chap.identifier = pair->value;
        } else if (pair->key == "CHAP_C") {
            chap.challenge = pair->value;
        }
    }
    return reader.fault().empty() ? Refusal{} : initiator_error(reader.fault());
}

Refusal Login::check_names() {
    named_ = true;
    if (parameters_.initiator_name.empty())
        return refusal(LoginStatus::missing_parameter, "no InitiatorName");
    if (parameters_.target_name.empty()) {
        if (parameters_.discovery) return {};
        return refusal(LoginStatus::missing_parameter, "no TargetName in a normal session");
    }
    if (!same_name(parameters_.target_name, settings_.name)) {
        return refusal(LoginStatus::target_not_found,
                       "no such target: " + printable(parameters_.target_name));
    }
    return {};
}

Refusal Login::choose_method(std::string_view offered) {
    const std::string_view wanted = settings_.initiator ? "CHAP" : "None";
    if (!list_has(offered, wanted)) {
        return unauthenticated("of the initiator's AuthMethod \"" + printable(offered) +
                               "\" the target can do none: it wants " + std::string(wanted));
    }
    chap_chosen_ = settings_.initiator.has_value();
    output_.put("AuthMethod", wanted);
    return {};
}

Refusal Login::authenticate(const ChapKeys& keys, bool transit) {
    if (keys.any()) {
        if (!chap_chosen_) return unauthenticated("CHAP keys without AuthMethod=CHAP");
        return chap_.receive(keys, output_);
    }
    if (!settings_.initiator || chap_.authenticated() || chap_chosen_) return {};
    if (transit || stage_ != Stage::security)
        return unauthenticated("the initiator does not authenticate itself");
    return {};
}

Refusal Login::enter(const LoginHeader& request) {
    const auto admission = directory_.admit(request, parameters_);
    tsih_ = admission.tsih;
    return {.status = admission.status, .reason = admission.reason};
}

LoginResponse Login::response_to(const LoginHeader& request) noexcept {
    return {.task_tag = request.sequence.task_tag, .isid = request.isid, .tsih = request.tsih};
}

Login::Step Login::refuse(const LoginHeader& request, Refusal refused) noexcept {
    reason_ = std::move(refused.reason);
    Step step{.progress = refused.silent ? Progress::broken : Progress::refused,
              .response = response_to(request),
              .reason = reason_};
    step.response.status = refused.status;
    return step;
}

}  // namespace wnbd::iscsi
