// SPDX-License-Identifier: LGPL-2.1-or-later
// What holds for every platform of a process: built with each of them.
#include "engine/platform.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace wnbd::platform {
namespace {

TEST(PlatformTest, AManualResetEventReleasesEveryWaitUntilCleared) {
    Event event;
    initialize(event, EventKind::manual_reset);
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i)
        waiters.emplace_back([&] { EXPECT_EQ(wait(event, false), WaitResult::signalled); });
    set(event);
    for (auto& waiter : waiters)
        waiter.join();
    EXPECT_EQ(wait(event, true), WaitResult::signalled) << "it stays set";
    clear(event);
    std::atomic<bool> over{false};
    std::thread late([&] {
        wait(event, false);
        over.store(true);
    });
    std::this_thread::yield();
    EXPECT_FALSE(over.load());
    set(event);
    late.join();
    EXPECT_TRUE(over.load());
}

TEST(PlatformTest, OneSetOfAnAutoResetEventReleasesOneWait) {
    Event event;
    initialize(event, EventKind::auto_reset);
    std::atomic<int> released{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i)
        waiters.emplace_back([&] {
            wait(event, false);
            released.fetch_add(1);
        });
    for (int expected = 1; expected <= 3; ++expected) {
        set(event);
        while (released.load() < expected)
            std::this_thread::yield();
        EXPECT_EQ(released.load(), expected);
    }
    for (auto& waiter : waiters)
        waiter.join();
}

TEST(PlatformTest, AnEventMayGoAsSoonAsItsWaitIsOver) {
    constexpr int rounds = 2000;
    std::atomic<Event*> shared{nullptr};
    std::thread setter([&] {
        for (int i = 0; i < rounds; ++i) {
            Event* event = nullptr;
            while ((event = shared.exchange(nullptr)) == nullptr)
                std::this_thread::yield();
            set(*event);
        }
    });
    for (int i = 0; i < rounds; ++i) {
        const auto event = std::make_unique<Event>();
        initialize(*event, EventKind::auto_reset);
        shared.store(event.get());
        wait(*event, false);
    }
    setter.join();
}

TEST(PlatformTest, LocksExclude) {
    SpinLock spin;
    Mutex mutex;
    mutex.initialize();
    std::uint64_t under_spin = 0;
    std::uint64_t under_mutex = 0;
    constexpr std::uint64_t rounds = 5000;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (std::uint64_t n = 0; n < rounds; ++n) {
                {
                    const SpinGuard guard(spin);
                    ++under_spin;
                }
                const MutexGuard guard(mutex);
                ++under_mutex;
            }
        });
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(under_spin, 4 * rounds);
    EXPECT_EQ(under_mutex, 4 * rounds);
}

TEST(PlatformTest, TimeGoesOnInUnitsOf100Nanoseconds) {
    const std::uint64_t before = interrupt_time();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::uint64_t passed = interrupt_time() - before;
    EXPECT_GE(passed, 200'000U);
    EXPECT_LT(passed, 10'000'000'000U);
}

}  // namespace
}  // namespace wnbd::platform
