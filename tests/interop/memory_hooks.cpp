// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/memory_hooks.h"

#include <atomic>
#include <cstdlib>

namespace {

std::atomic<bool> counting{false};
std::atomic<bool> refusing{false};
std::atomic<std::uint64_t> allocations{0};
thread_local bool exempt = false;

/// True: the caller gets nothing.
bool refuses() noexcept {
    if (exempt) return false;
    if (counting.load(std::memory_order_relaxed)) ++allocations;
    return refusing.load(std::memory_order_relaxed);
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
    return refuses() ? nullptr : __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
    return refuses() ? nullptr : __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) {
    return refuses() ? nullptr : __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return refuses() ? nullptr : __libc_memalign(alignment, size);
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
void exempt_this_thread(bool is_exempt) noexcept {
    exempt = is_exempt;
}

}  // namespace wnbd::test
