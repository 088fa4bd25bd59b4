// SPDX-License-Identifier: LGPL-2.1-or-later
// What tests may do to the native platform: hold the clock, let memory run out, alert a thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/platform.h"

namespace wnbd::platform::native {

// --- Time. Process-wide, any thread.

/// From now on interrupt_time() is `now` (100 ns units) and moves by advance_time() only.
void hold_time(std::uint64_t now) noexcept;
/// Moves a held clock on.
void advance_time(std::uint64_t by) noexcept;
inline void advance_time_ms(std::uint64_t by) noexcept {
    advance_time(by * 10'000);
}
/// Back to the real clock.
void release_time() noexcept;

// --- Memory. Process-wide, any thread.

/// Every allocation after the next `count` ones fails, until restore_allocations().
void fail_allocations_after(std::uint64_t count) noexcept;
void restore_allocations() noexcept;
/// Blocks that were allocated and not freed.
[[nodiscard]] std::int64_t allocations_outstanding() noexcept;
/// Allocations ever asked for, failed ones included.
[[nodiscard]] std::uint64_t allocations_made() noexcept;

/// Memory that a model saves and restores whole, this record included: so the engine's tables are
/// in it. Freed blocks are counted and not used again.
struct Arena {
    std::byte* next = nullptr;
    std::byte* end = nullptr;
    std::int64_t blocks = 0;
};
/// This thread's allocations come from `arena` and go back to it; nullptr: the heap again.
void allocate_from(Arena* arena) noexcept;

// --- Threads.

struct Thread;
/// Names a thread for alert(). Keeps working, without effect, when the thread has ended.
using ThreadHandle = std::shared_ptr<Thread>;
[[nodiscard]] ThreadHandle this_thread();
/// Ends the thread's alertable wait, or its next one if it waits for nothing now.
void alert(const ThreadHandle& thread) noexcept;

/// Spin locks the calling thread holds: a Port or a copy must find 0.
[[nodiscard]] unsigned spin_locks_held() noexcept;
/// Threads that are inside wait() now. For tests that must act while another thread waits.
[[nodiscard]] unsigned threads_waiting() noexcept;

/// Whether a wait for the event would return at once.
[[nodiscard]] bool is_set(Event& event) noexcept;

}  // namespace wnbd::platform::native
