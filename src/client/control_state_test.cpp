// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/control_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace wnbd::client {
namespace {

TEST(ControlState, FirstEventIsSoftSecondHardLaterNothing) {
    ControlState state;
    EXPECT_EQ(state.next(), ControlAction::remove_soft);
    EXPECT_EQ(state.next(), ControlAction::remove_hard);
    EXPECT_EQ(state.next(), ControlAction::none);
    EXPECT_EQ(state.next(), ControlAction::none);
}

TEST(ControlState, NothingIsRemovedAfterTheEnd) {
    ControlState state;
    state.finished();
    EXPECT_EQ(state.next(), ControlAction::none);
}

TEST(ControlState, ConcurrentEventsShareTheActions) {
    constexpr std::size_t thread_count = 8;
    ControlState state;
    std::vector<ControlAction> actions(thread_count);
    {
        std::vector<std::jthread> threads;
        threads.reserve(thread_count);
        for (ControlAction& action : actions) {
            threads.emplace_back([&state, &action] { action = state.next(); });
        }
    }
    EXPECT_EQ(std::ranges::count(actions, ControlAction::remove_soft), 1);
    EXPECT_EQ(std::ranges::count(actions, ControlAction::remove_hard), 1);
}

}  // namespace
}  // namespace wnbd::client
