// SPDX-License-Identifier: LGPL-2.1-or-later
// CHAP on the target's side (RFC 7143, 12.1.3): one way, and mutual when the initiator asks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iscsi/digest.h"
#include "iscsi/refusal.h"
#include "iscsi/target_settings.h"
#include "iscsi/text.h"

namespace wnbd::iscsi {

/// Fills the room with bytes nobody can foresee; false: none to be had.
using RandomSource = bool (*)(std::span<std::uint8_t>) noexcept;

/// CHAP's keys of one text; they point into it.
struct ChapKeys {
    std::optional<std::string_view> algorithms{};  // CHAP_A
    std::optional<std::string_view> name{};        // CHAP_N
    std::optional<std::string_view> response{};    // CHAP_R
    std::optional<std::string_view> identifier{};  // CHAP_I
    std::optional<std::string_view> challenge{};   // CHAP_C
    [[nodiscard]] bool any() const noexcept {
        return algorithms || name || response || identifier || challenge;
    }
};

class ChapTarget {
  public:
    /// `settings` outlive it.
    ChapTarget(const TargetSettings& settings, RandomSource random) noexcept
        : settings_(settings), random_(random) {}

    /// Takes what came and writes what is to be answered. May throw std::bad_alloc.
    [[nodiscard]] Refusal receive(const ChapKeys& keys, TextWriter& answer);
    [[nodiscard]] bool authenticated() const noexcept { return state_ == State::authenticated; }

  private:
    enum class State : std::uint8_t { wants_algorithm, wants_response, authenticated };

    Refusal choose_algorithm(std::string_view algorithms, TextWriter& answer);
    Refusal check_proof(const ChapKeys& keys, TextWriter& answer);
    [[nodiscard]] Refusal check_response(std::string_view name, std::string_view response) const;
    [[nodiscard]] Refusal prove(std::string_view identifier_text, std::string_view challenge_text,
                                TextWriter& answer) const;

    const TargetSettings& settings_;
    RandomSource random_;
    State state_ = State::wants_algorithm;
    HashAlgorithm algorithm_ = HashAlgorithm::md5;
    std::uint8_t identifier_ = 0;
    std::vector<std::uint8_t> challenge_;
};

}  // namespace wnbd::iscsi
