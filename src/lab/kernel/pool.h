// SPDX-License-Identifier: LGPL-2.1-or-later
// The pool of the lab's kernel: always "special pool". Each block has its own pages, ends at a page
// that faults, has a pattern in what is left over, and faults on any access for a long time after
// it was freed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::lab::kernel {

/// Allocates for the driver; `owner_is_driver` blocks must be freed before unload. nullptr when the
/// arena is full.
void* pool_allocate(std::size_t bytes, std::uint32_t tag, bool owner_is_driver);
/// Frees; `tag` 0 matches any. Reports double frees, foreign pointers, wrong tags and overruns.
void pool_free(void* block, std::uint32_t tag);
/// True if the address belongs to the arena: the lab's "kernel range" of a process's address space.
bool is_pool_address(std::uintptr_t address) noexcept;
/// Number of blocks the driver owns now.
std::uint64_t pool_blocks() noexcept;
/// Reports each block the driver still owns.
void check_pool_balance();
/// If the address lies in the pool, reports what was there (use after free, overrun).
void describe_pool_fault(std::uintptr_t address, bool write);

}  // namespace wnbd::lab::kernel
