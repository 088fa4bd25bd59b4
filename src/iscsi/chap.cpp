// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/chap.h"

namespace wnbd::iscsi {
namespace {

constexpr std::size_t challenge_length_max = 1024;

std::span<const std::uint8_t> bytes_of(std::string_view text) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Refusal failure(std::string reason) {
    return refusal(LoginStatus::authentication_failure, std::move(reason));
}

/// What proves that one knows the secret (RFC 1994, 4.1).
std::optional<Hash> response_to(HashAlgorithm algorithm, std::uint8_t identifier,
                                std::string_view secret,
                                std::span<const std::uint8_t> challenge) noexcept {
    return hash_of(algorithm, {std::span(&identifier, 1), bytes_of(secret), challenge});
}

Refusal no_hash() {
    return refusal(LoginStatus::target_error, "the system does not give CHAP's hash");
}

}  // namespace

Refusal ChapTarget::receive(const ChapKeys& keys, TextWriter& answer) {
    switch (state_) {
        case State::wants_algorithm:
            if (!keys.algorithms || keys.name || keys.response || keys.identifier || keys.challenge)
                return failure("CHAP does not begin with CHAP_A alone");
            return choose_algorithm(*keys.algorithms, answer);
        case State::wants_response: return check_proof(keys, answer);
        case State::authenticated: break;
    }
    return failure("CHAP goes on after its end");
}

Refusal ChapTarget::choose_algorithm(std::string_view algorithms, TextWriter& answer) {
    while (const auto one = next_of_list(algorithms)) {
        const auto number = parse_number(*one);
        if (!number || *number < static_cast<unsigned>(HashAlgorithm::md5) ||
            *number > static_cast<unsigned>(HashAlgorithm::sha256))
            continue;
        const auto algorithm = static_cast<HashAlgorithm>(*number);
        if (!hash_of(algorithm, {})) continue;  // a system may forbid the weak ones
        algorithm_ = algorithm;
        challenge_.resize(hash_length(algorithm));
        if (!random_(std::span(&identifier_, 1)) || !random_(challenge_))
            return refusal(LoginStatus::target_error, "the system has no random bytes");
        state_ = State::wants_response;
        answer.put("CHAP_A", static_cast<std::uint32_t>(algorithm));
        answer.put("CHAP_I", identifier_);
        answer.put("CHAP_C", binary_text(challenge_));
        return {};
    }
    return failure("CHAP_A offers no algorithm of 5 (MD5), 6 (SHA-1) and 7 (SHA-256)");
}

Refusal ChapTarget::check_proof(const ChapKeys& keys, TextWriter& answer) {
    if (keys.algorithms || !keys.name || !keys.response)
        return failure("CHAP_N and CHAP_R do not answer the challenge");
    if (keys.identifier.has_value() != keys.challenge.has_value())
        return failure("only one of CHAP_I and CHAP_C is there");
    if (keys.challenge && parse_binary(*keys.challenge, challenge_length_max) == challenge_) {
        return {.status = LoginStatus::authentication_failure,
                .reason = "the initiator sends the target's own CHAP challenge back",
                .silent = true};  // 12.1.3: the connection is closed
    }
    if (auto refused = check_response(*keys.name, *keys.response)) return refused;
    if (keys.identifier && keys.challenge) {
        if (auto refused = prove(*keys.identifier, *keys.challenge, answer)) return refused;
    }
    state_ = State::authenticated;
    return {};
}

Refusal ChapTarget::check_response(std::string_view name, std::string_view response) const {
    if (!settings_.initiator) return failure("the target has no CHAP secret");
    const auto& wanted = *settings_.initiator;
    const auto expected = response_to(algorithm_, identifier_, wanted.secret, challenge_);
    if (!expected) return no_hash();
    const auto given = parse_binary(response, hash_length(algorithm_));
    // Both are looked at, so that the time tells no one which was wrong.
    const bool right = given && equal_in_constant_time(*given, expected->view());
    const bool known = equal_in_constant_time(bytes_of(name), bytes_of(wanted.name));
    if (!known) return failure("the CHAP name is wrong");
    return right ? Refusal{} : failure("the CHAP secret is wrong");
}

Refusal ChapTarget::prove(std::string_view identifier_text, std::string_view challenge_text,
                          TextWriter& answer) const {
    if (!settings_.self)
        return failure("the initiator wants mutual CHAP, and the target has no secret for it");
    const auto identifier = parse_number(identifier_text);
    const auto challenge = parse_binary(challenge_text, challenge_length_max);
    if (!identifier || *identifier > 0xFF) return failure("CHAP_I is no number up to 255");
    if (!challenge) return failure("CHAP_C is no binary value of 1 to 1024 bytes");
    if (settings_.initiator && settings_.self->secret == settings_.initiator->secret)
        return failure("the initiator's and the target's CHAP secret are the same");
    const auto response = response_to(algorithm_, static_cast<std::uint8_t>(*identifier),
                                      settings_.self->secret, *challenge);
    if (!response) return no_hash();
    answer.put("CHAP_N", settings_.self->name);
    answer.put("CHAP_R", binary_text(response->view()));
    return {};
}

}  // namespace wnbd::iscsi
