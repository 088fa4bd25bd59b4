// SPDX-License-Identifier: LGPL-2.1-or-later
// The keys of RFC 7143, 13 and how each is agreed upon; those of authentication are login's.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "iscsi/parameters.h"
#include "iscsi/refusal.h"
#include "iscsi/target_settings.h"
#include "iscsi/text.h"

namespace wnbd::iscsi {

/// One negotiation: a login's, or a text request's in the full feature phase, which may change
/// little (13: "Use: ALL").
class Negotiation {
  public:
    /// Both outlive it. `parameters` change with what is agreed upon.
    Negotiation(const TargetSettings& settings, Parameters& parameters) noexcept
        : settings_(settings), parameters_(parameters) {}

    /// Takes a pair that came in this stage and writes the answer, if it gets one. May throw
    /// std::bad_alloc, as finish() may.
    [[nodiscard]] Refusal take(const TextPair& pair, Stage stage, TextWriter& answer);
    /// The end of one text of a login: answers what depends on several of its keys, and declares
    /// what the target has to say unasked.
    [[nodiscard]] Refusal finish(Stage stage, TextWriter& answer);

    /// Whether the key came, by its name in the standard.
    [[nodiscard]] bool has(std::string_view key) const noexcept;

  private:
    struct Key;
    static const Key keys[];
    static const Key* find(std::string_view name) noexcept;
    static std::uint64_t bit(const Key& key) noexcept;

    Refusal take_known(const Key& key, std::string_view value, TextWriter& answer);
    Refusal take_name(const Key& key, std::string_view value);
    void take_number(const Key& key, std::string_view value, TextWriter& answer);
    void take_boolean(const Key& key, std::string_view value, TextWriter& answer);
    void take_list(const Key& key, std::string_view value, TextWriter& answer);
    void take_segment_length(const Key& key, std::string_view value, TextWriter& answer);
    Refusal agree_on_first_burst(TextWriter& answer);

    const TargetSettings& settings_;
    Parameters& parameters_;
    std::uint64_t seen_ = 0;                      // a bit for each key
    std::optional<std::uint32_t> first_burst_{};  // offered in the text that is under way
    bool first_burst_agreed_ = false;
    bool introduced_ = false;  // the first text is over: who and what for is settled
    bool declared_ = false;    // MaxRecvDataSegmentLength
};

}  // namespace wnbd::iscsi
