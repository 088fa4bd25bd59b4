// SPDX-License-Identifier: LGPL-2.1-or-later
// What a test's process allocates is counted here, or refused. For programs of their own: malloc is
// replaced, and what stands on it (operator new) comes here, too.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::test {

/// From 0 on: what all threads allocate that are not exempt.
void count_allocations() noexcept;
/// How many there were. Nothing is counted any more.
[[nodiscard]] std::uint64_t allocations_counted() noexcept;

/// While true, no thread gets any memory that is not exempt.
void refuse_memory(bool refuse) noexcept;

/// The one allocation of at least `size_min` bytes that comes after `before` others such, of
/// threads that are not exempt, gets none.
void refuse_allocation_after(std::int64_t before, std::size_t size_min = 0) noexcept;
/// Whether it has come.
[[nodiscard]] bool allocation_was_refused() noexcept;
/// It need not come any more.
void refuse_no_allocation() noexcept;

/// Of the calling thread; none is at first.
void exempt_this_thread(bool exempt) noexcept;

}  // namespace wnbd::test
