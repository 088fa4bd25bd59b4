// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/memory_hooks.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>

namespace {

std::atomic<bool> counting{false};
std::atomic<bool> refusing{false};
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::int64_t> before_refusal{-1};  // below 0: no single one is refused
std::atomic<std::size_t> refused_size_min{0};  // bytes
thread_local bool exempt = false;

/// True: the caller gets nothing.
bool refuses(std::size_t size) noexcept {
    if (exempt) return false;
    if (counting.load(std::memory_order_relaxed)) ++allocations;
    const bool its_turn = before_refusal.load(std::memory_order_relaxed) >= 0 &&
                          size >= refused_size_min.load(std::memory_order_relaxed) &&
                          before_refusal.fetch_sub(1) == 0;
    if (!its_turn && !refusing.load(std::memory_order_relaxed)) return false;
    errno = ENOMEM;
    return true;
}

}  // namespace

// In front of the C library's own.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
    return refuses(size) ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
    return refuses(number * size) ? nullptr : __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) {
    return refuses(size) ? nullptr : __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return refuses(size) ? nullptr : __libc_memalign(alignment, size);
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace wnbd::test {

void count_allocations() noexcept {
    allocations = 0;
    counting = true;
}
std::uint64_t allocations_counted() noexcept {
    counting = false;
    return allocations;
}
void refuse_memory(bool refuse) noexcept {
    refusing = refuse;
}
void refuse_allocation_after(std::int64_t before, std::size_t size_min) noexcept {
    refused_size_min = size_min;
    before_refusal = before;
}
bool allocation_was_refused() noexcept {
    return before_refusal < 0;
}
void refuse_no_allocation() noexcept {
    before_refusal = -1;
}
void exempt_this_thread(bool is_exempt) noexcept {
    exempt = is_exempt;
}

}  // namespace wnbd::test
