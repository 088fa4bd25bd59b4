// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/recovery.h"

#include <algorithm>
#include <utility>

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;

// Keeps sums of times within the clock's range.
constexpr milliseconds time_max = std::chrono::hours(24 * 366);

struct Ability {
    std::uint16_t flag;
    const char* name;
};
constexpr Ability abilities[] = {
    {transmission_send_flush, "flush"},
    {transmission_send_fua, "forced unit access"},
    {transmission_send_trim, "trim"},
    {transmission_send_write_zeroes, "write zeroes"},
};

Comparison refuse(const std::string& what, std::uint64_t got = 0, std::uint64_t expected = 0) {
    return {.verdict = Comparison::Verdict::refused,
            .fault = {.code = FaultCode::export_changed,
                      .got = got,
                      .expected = expected,
                      .step = "after reconnecting",
                      .text = what}};
}

ReconnectPolicy within_bounds(ReconnectPolicy policy) {
    policy.delay = std::clamp(policy.delay, milliseconds(1), time_max);
    policy.delay_max = std::clamp(policy.delay_max, policy.delay, time_max);
    policy.timeout = std::clamp(policy.timeout, milliseconds(0), time_max);
    return policy;
}

}  // namespace

Comparison compare_exports(const ExportInfo& before, const ExportInfo& now) {
    const auto had = [&](std::uint16_t flag) { return (before.transmission_flags & flag) != 0; };
    const auto has = [&](std::uint16_t flag) { return (now.transmission_flags & flag) != 0; };
    if (!had(transmission_read_only) && has(transmission_read_only))
        return refuse("it is read-only now");
    for (const auto& ability : abilities)
        if (had(ability.flag) && !has(ability.flag))
            return refuse(std::string("it has no ") + ability.name + " any more");
    if (now.minimum_block > before.minimum_block)
        return refuse("its minimum block is " + std::to_string(now.minimum_block) +
                          " bytes now, and was " + std::to_string(before.minimum_block),
                      now.minimum_block, before.minimum_block);
    if (!before.canonical_name.empty() && !now.canonical_name.empty() &&
        before.canonical_name != now.canonical_name)
        return refuse("it is \"" + printable(now.canonical_name) + "\" now, and was \"" +
                      printable(before.canonical_name) + "\"");
    if (now.size != before.size) return {.verdict = Comparison::Verdict::resized};
    return {};
}

Recovery::Recovery(const ReconnectPolicy& policy, std::size_t addresses,
                   std::size_t current) noexcept
    : policy_(within_bounds(policy)),
      addresses_(std::max<std::size_t>(addresses, 1)),
      current_(current % addresses_) {}

void Recovery::lost(TimePoint now, const Fault& fault) noexcept {
    if (state_ != State::online) return;
    fault_ = fault;
    state_ = State::waiting;
    if (opened_at_ && now - *opened_at_ < std::min(policy_.delay, held_min)) {
        go_on(now);
    } else {
        current_ = (current_ + offset_) % addresses_;
        offset_ = 0;
        lost_at_ = now;
        next_attempt_ = now;
        delay_ = policy_.delay;
        attempts_ = 0;
    }
    tick(now);
}

/// To the next address, or the next round.
void Recovery::go_on(TimePoint now) noexcept {
    next_attempt_ = now;
    if (++offset_ < addresses_) return;
    offset_ = 0;
    next_attempt_ = now + delay_;
    delay_ = std::min(delay_ * 2, policy_.delay_max);
}

std::optional<std::size_t> Recovery::due(TimePoint now) noexcept {
    tick(now);
    if (state_ != State::waiting || now < next_attempt_) return std::nullopt;
    state_ = State::attempting;
    ++attempts_;
    return (current_ + offset_) % addresses_;
}

void Recovery::attempt_failed(TimePoint now, Fault fault) noexcept {
    if (state_ != State::attempting) return;
    fault_ = std::move(fault);
    state_ = State::waiting;
    go_on(now);
    tick(now);
}

bool Recovery::opened(TimePoint now) noexcept {
    tick(now);
    if (state_ != State::attempting) return false;
    state_ = State::online;
    opened_at_ = now;
    ++reconnects_;
    fault_ = {};
    return true;
}

std::optional<TimePoint> Recovery::gives_up_at() const noexcept {
    if (policy_.on_timeout == OnTimeout::hold) return std::nullopt;
    return lost_at_ + policy_.timeout;
}

void Recovery::tick(TimePoint now) noexcept {
    if (state_ != State::waiting && state_ != State::attempting) return;
    if (const auto last = gives_up_at(); last && now >= *last) state_ = State::gave_up;
}

std::optional<TimePoint> Recovery::next() const noexcept {
    switch (state_) {
        case State::waiting: {
            const auto last = gives_up_at();
            return last ? std::min(*last, next_attempt_) : next_attempt_;
        }
        case State::attempting: return gives_up_at();
        case State::online:
        case State::gave_up: break;
    }
    return std::nullopt;
}

}  // namespace wnbd::nbd
