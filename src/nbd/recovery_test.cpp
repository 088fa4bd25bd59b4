// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace wnbd::nbd {
namespace {

using State = Recovery::State;
using Verdict = Comparison::Verdict;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr TimePoint start{1000h};
const Fault hang_up{.code = FaultCode::hang_up};
const Fault refusal{.code = FaultCode::connect_failed};

ReconnectPolicy policy() {
    return {.delay = 1s, .delay_max = 4s, .timeout = 60s, .on_timeout = OnTimeout::fail};
}

TimePoint next_of(const Recovery& recovery) {
    return recovery.next().value_or(TimePoint::max());
}

TEST(Recovery, stays_online_until_the_loss) {
    Recovery recovery(policy(), 1);
    recovery.tick(start);
    EXPECT_EQ(recovery.state(), State::online);
    EXPECT_FALSE(recovery.due(start));
    EXPECT_FALSE(recovery.next());
}

TEST(Recovery, tries_at_once_and_then_after_delays_that_double_up_to_the_longest) {
    Recovery recovery(policy(), 1);
    auto now = start;
    recovery.lost(now, hang_up);
    std::vector<TimePoint> attempts;
    while (attempts.size() < 6) {
        ASSERT_EQ(recovery.state(), State::waiting);
        now = next_of(recovery);
        EXPECT_FALSE(now > start && recovery.due(now - 1ms).has_value());
        ASSERT_EQ(recovery.due(now), 0U);
        attempts.push_back(now);
        recovery.attempt_failed(now, refusal);
    }
    EXPECT_EQ(attempts, (std::vector<TimePoint>{start, start + 1s, start + 3s, start + 7s,
                                                start + 11s, start + 15s}));
    EXPECT_EQ(recovery.attempts(), 6U);
    EXPECT_EQ(recovery.fault().code, FaultCode::connect_failed);
}

TEST(Recovery, tries_all_addresses_in_one_round_beginning_with_the_one_that_held) {
    Recovery recovery(policy(), 3, 1);
    recovery.lost(start, hang_up);
    for (const std::size_t address : {1, 2, 0}) {
        ASSERT_EQ(recovery.due(start), address);
        recovery.attempt_failed(start, refusal);
    }
    EXPECT_FALSE(recovery.due(start));
    ASSERT_EQ(recovery.due(start + 1s), 1U);
    recovery.attempt_failed(start + 1s, refusal);
    ASSERT_EQ(recovery.due(start + 1s), 2U);
    ASSERT_TRUE(recovery.opened(start + 1s));
    recovery.lost(start + 100s, hang_up);
    EXPECT_EQ(recovery.due(start + 100s), 2U);
}

TEST(Recovery, gives_up_at_the_time_out_also_in_the_middle_of_an_attempt) {
    for (const bool attempting : {false, true}) {
        Recovery recovery(policy(), 1);
        recovery.lost(start, hang_up);
        ASSERT_TRUE(recovery.due(start));
        if (!attempting) recovery.attempt_failed(start + 59'900ms, refusal);
        ASSERT_EQ(recovery.next(), start + 60s);
        recovery.tick(start + 59'999ms);
        EXPECT_NE(recovery.state(), State::gave_up);
        recovery.tick(start + 60s);
        EXPECT_EQ(recovery.state(), State::gave_up);
        EXPECT_FALSE(recovery.opened(start + 61s));
        EXPECT_FALSE(recovery.due(start + 61s));
        EXPECT_FALSE(recovery.next());
    }
}

TEST(Recovery, an_attempt_that_succeeds_too_late_is_of_no_use) {
    Recovery recovery(policy(), 1);
    recovery.lost(start, hang_up);
    ASSERT_TRUE(recovery.due(start));
    EXPECT_FALSE(recovery.opened(start + 60s));
    EXPECT_EQ(recovery.state(), State::gave_up);
    EXPECT_EQ(recovery.reconnects(), 0U);
}

TEST(Recovery, holds_for_as_long_as_it_takes) {
    auto holding = policy();
    holding.on_timeout = OnTimeout::hold;
    holding.timeout = 0s;
    Recovery recovery(holding, 1);
    recovery.lost(start, hang_up);
    for (int i = 0; i < 100'000; ++i) {
        const auto now = next_of(recovery);
        ASSERT_TRUE(recovery.due(now));
        EXPECT_FALSE(recovery.next());
        recovery.attempt_failed(now, refusal);
    }
    const auto late = next_of(recovery);
    EXPECT_GT(late, start + 100h);
    ASSERT_TRUE(recovery.due(late));
    EXPECT_TRUE(recovery.opened(late));
    EXPECT_EQ(recovery.fault().code, FaultCode::none);
}

TEST(Recovery, with_no_time_it_never_tries) {
    auto never = policy();
    never.timeout = 0s;
    Recovery recovery(never, 2);
    recovery.lost(start, hang_up);
    EXPECT_EQ(recovery.state(), State::gave_up);
    EXPECT_EQ(recovery.fault().code, FaultCode::hang_up);
}

TEST(Recovery, a_reconnect_that_held_starts_anew) {
    Recovery recovery(policy(), 1);
    auto now = start;
    for (std::uint64_t i = 1; i <= 200; ++i) {
        recovery.lost(now, hang_up);
        ASSERT_TRUE(recovery.due(now)) << "loss " << i;
        ASSERT_TRUE(recovery.opened(now));
        EXPECT_EQ(recovery.reconnects(), i);
        EXPECT_EQ(recovery.attempts(), 1U);
        now += 1s;
    }
}

TEST(Recovery, connections_that_do_not_hold_back_off_and_end_with_the_time_out) {
    Recovery recovery(policy(), 1);
    recovery.lost(start, hang_up);
    auto now = start;
    unsigned opened = 0;
    while (recovery.state() != State::gave_up) {
        if (recovery.due(now)) {
            if (!recovery.opened(now)) break;
            ++opened;
            now += 10ms;
            recovery.lost(now, hang_up);
        } else if (const auto next = recovery.next()) {
            now = *next;
        }
    }
    EXPECT_LT(now, start + 61s);
    EXPECT_GT(opened, 10U);
    EXPECT_LT(opened, 25U);
}

TEST(Recovery, a_connection_that_held_a_while_was_one_however_long_the_delay) {
    auto slow = policy();
    slow.delay = slow.delay_max = 30s;
    Recovery recovery(slow, 1);
    auto now = start;
    for (int i = 0; i < 10; ++i) {
        recovery.lost(now, hang_up);
        ASSERT_EQ(recovery.due(now), 0U) << i;
        ASSERT_TRUE(recovery.opened(now));
        now += 20s;
    }
    EXPECT_EQ(recovery.state(), State::online);
    // But not a moment.
    recovery.lost(now, hang_up);
    ASSERT_TRUE(recovery.due(now) && recovery.opened(now));
    now += 1s;
    recovery.lost(now, hang_up);
    EXPECT_FALSE(recovery.due(now));
    EXPECT_EQ(recovery.next(), now + 30s);
}

TEST(Recovery, an_address_that_does_not_hold_gives_way_to_the_next) {
    Recovery recovery(policy(), 2);
    recovery.lost(start, hang_up);
    ASSERT_EQ(recovery.due(start), 0U);
    ASSERT_TRUE(recovery.opened(start));
    recovery.lost(start + 10ms, hang_up);
    EXPECT_EQ(recovery.due(start + 10ms), 1U);
}

TEST(Recovery, impossible_settings_are_bounded) {
    const ReconnectPolicy wild{.delay = std::chrono::milliseconds::min(),
                               .delay_max = std::chrono::milliseconds::max(),
                               .timeout = std::chrono::milliseconds::max()};
    Recovery recovery(wild, 0, 7);
    recovery.lost(start, hang_up);
    auto now = start;
    for (int i = 0; i < 100 && recovery.state() == State::waiting; ++i) {
        now = next_of(recovery);
        if (recovery.due(now)) recovery.attempt_failed(now, refusal);
    }
    EXPECT_EQ(recovery.state(), State::gave_up);
}

TEST(Recovery, its_own_next_time_is_late_enough) {
    Recovery recovery(policy(), 1);
    recovery.lost(start, hang_up);
    ASSERT_TRUE(recovery.due(start));
    // Who asks again at this very time must not be told to do so once more.
    recovery.tick(next_of(recovery));
    EXPECT_EQ(recovery.state(), State::gave_up);
    EXPECT_EQ(recovery.next(), std::nullopt);
}

TEST(Recovery, a_reconnect_leaves_nothing_of_the_loss) {
    Recovery recovery(policy(), 1);
    recovery.lost(start, hang_up);
    ASSERT_TRUE(recovery.due(start));
    recovery.attempt_failed(start, refusal);
    EXPECT_EQ(recovery.attempts(), 1U);
    ASSERT_TRUE(recovery.due(next_of(recovery)));
    ASSERT_TRUE(recovery.opened(start + 5s));
    EXPECT_EQ(recovery.fault().code, FaultCode::none);
    recovery.lost(start + 1h, hang_up);
    EXPECT_EQ(recovery.attempts(), 0U);
}

constexpr std::uint16_t all_abilities = transmission_has_flags | transmission_send_flush |
                                        transmission_send_fua | transmission_send_trim |
                                        transmission_send_write_zeroes;

ExportInfo disk() {
    return {.size = 1 << 30,
            .transmission_flags = all_abilities,
            .minimum_block = 512,
            .canonical_name = "disk"};
}

TEST(CompareExports, the_same_is_the_same) {
    EXPECT_EQ(compare_exports(disk(), disk()).verdict, Verdict::same);
}

TEST(CompareExports, what_makes_no_difference) {
    auto now = disk();
    now.transmission_flags |= transmission_can_multi_conn | transmission_rotational;
    now.minimum_block = 1;
    now.maximum_payload = 65'536;
    now.canonical_name = "";
    now.description = "else";
    EXPECT_EQ(compare_exports(disk(), now).verdict, Verdict::same);
    auto nameless = disk();
    nameless.canonical_name = "";
    EXPECT_EQ(compare_exports(nameless, disk()).verdict, Verdict::same);
    auto read_only = disk();
    read_only.transmission_flags = transmission_has_flags | transmission_read_only;
    EXPECT_EQ(compare_exports(read_only, disk()).verdict, Verdict::same);
}

TEST(CompareExports, another_size_is_a_resize) {
    auto now = disk();
    now.size /= 2;
    EXPECT_EQ(compare_exports(disk(), now).verdict, Verdict::resized);
}

TEST(CompareExports, what_the_disk_offers_may_not_go) {
    const auto message = [](const ExportInfo& now) {
        const auto comparison = compare_exports(disk(), now);
        EXPECT_EQ(comparison.verdict, Verdict::refused);
        return describe(comparison.fault);
    };
    auto now = disk();
    now.transmission_flags |= transmission_read_only;
    EXPECT_THAT(message(now), HasSubstr("read-only"));
    const std::pair<std::uint16_t, const char*> abilities[] = {
        {transmission_send_flush, "no flush"},
        {transmission_send_fua, "no forced unit access"},
        {transmission_send_trim, "no trim"},
        {transmission_send_write_zeroes, "no write zeroes"}};
    for (const auto& [flag, words] : abilities) {
        now = disk();
        now.transmission_flags &= static_cast<std::uint16_t>(~flag);
        EXPECT_THAT(message(now), HasSubstr(words));
    }
    now = disk();
    now.minimum_block = 4096;
    EXPECT_THAT(message(now), HasSubstr("4096"));
    now = disk();
    now.canonical_name = "el\nse";
    EXPECT_THAT(message(now), HasSubstr("\"el?se\""));
}

}  // namespace
}  // namespace wnbd::nbd
