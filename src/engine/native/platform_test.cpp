// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/platform.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/native/control.h"

namespace wnbd::platform {
namespace {

void until_waiting(unsigned threads) {
    while (native::threads_waiting() < threads)
        std::this_thread::yield();
}

TEST(NativePlatformTest, AWaitThatIsSignalledLeavesTheAlertToTheNext) {
    for (const auto kind : {EventKind::manual_reset, EventKind::auto_reset}) {
        Event event;
        initialize(event, kind);
        set(event);
        set(event);  // a second set of a set event adds nothing
        native::alert(native::this_thread());
        EXPECT_TRUE(native::is_set(event));
        ASSERT_EQ(wait(event, true), WaitResult::signalled);
        clear(event);
        EXPECT_FALSE(native::is_set(event));
        EXPECT_EQ(wait(event, true), WaitResult::alerted);
    }
}

TEST(NativePlatformTest, WaitersAndHeldLocksAreCounted) {
    Event event;
    initialize(event, EventKind::auto_reset);
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i)
        waiters.emplace_back([&] { EXPECT_EQ(wait(event, false), WaitResult::signalled); });
    until_waiting(3);
    for (unsigned left = 3; left-- > 0;) {
        set(event);
        while (native::threads_waiting() > left)
            std::this_thread::yield();
        EXPECT_EQ(native::threads_waiting(), left);
    }
    for (auto& waiter : waiters)
        waiter.join();
    SpinLock spin;
    {
        const SpinGuard guard(spin);
        EXPECT_EQ(native::spin_locks_held(), 1U);
    }
    EXPECT_EQ(native::spin_locks_held(), 0U);
}

TEST(NativePlatformTest, AnAlertEndsAnAlertableWaitOnly) {
    Event event;
    initialize(event, EventKind::manual_reset);
    native::ThreadHandle sleeper;
    std::atomic<bool> named{false};
    std::atomic<int> ended{0};
    std::thread thread([&] {
        sleeper = native::this_thread();
        named.store(true);
        EXPECT_EQ(wait(event, true), WaitResult::alerted);
        ended.store(1);
        EXPECT_EQ(wait(event, false), WaitResult::signalled);
        ended.store(2);
    });
    while (!named.load())
        std::this_thread::yield();
    until_waiting(1);
    native::alert(sleeper);
    while (ended.load() < 1)
        std::this_thread::yield();
    until_waiting(1);
    native::alert(sleeper);
    EXPECT_EQ(ended.load(), 1);
    set(event);
    thread.join();
    EXPECT_EQ(ended.load(), 2);
    native::alert(sleeper);  // the thread is gone: no effect
}

TEST(NativePlatformDeathTest, WhatAKernelForbidsAborts) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    Event event;
    initialize(event, EventKind::manual_reset);
    set(event);
    SpinLock first;
    SpinLock second;
    EXPECT_DEATH(
        {
            const SpinGuard guard(first);
            wait(event, false);
        },
        "waits while it holds");
    EXPECT_DEATH(
        {
            const SpinGuard guard(first);
            const SpinGuard another(second);
        },
        "second spin lock");
    EXPECT_DEATH(
        {
            const SpinGuard guard(first);
            static_cast<void>(allocate(1));
        },
        "allocated while");
    EXPECT_DEATH(release(first, 0), "does not hold");
    Event never{};
    EXPECT_DEATH(set(never), "not initialized");
}

TEST(NativePlatformTest, AHeldClockMovesOnlyWhenToldTo) {
    native::hold_time(1000);
    EXPECT_EQ(interrupt_time(), 1000u);
    native::advance_time_ms(2);
    EXPECT_EQ(interrupt_time(), 21000u);
    native::release_time();
    const std::uint64_t before = interrupt_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_GE(interrupt_time(), before + 2 * 10'000);
}

TEST(NativePlatformTest, MemoryRunsOutOnDemandAndIsCounted) {
    const auto outstanding = native::allocations_outstanding();
    native::fail_allocations_after(1);
    void* const memory = allocate(100);
    EXPECT_NE(memory, nullptr);
    EXPECT_EQ(allocate(1), nullptr);
    native::restore_allocations();
    EXPECT_EQ(native::allocations_outstanding(), outstanding + 1);
    platform::free(memory);
    platform::free(nullptr);
    EXPECT_EQ(native::allocations_outstanding(), outstanding);
}

}  // namespace
}  // namespace wnbd::platform
