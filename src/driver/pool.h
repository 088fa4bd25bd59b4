// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's memory: non-paged and not executable, under one tag.
#pragma once

#include <cstddef>

#include "driver/ddk/nt.h"

namespace wnbd::driver {

/// Read backwards by the debugger's pool commands: "wnbD".
inline constexpr ULONG pool_tag = 'Dbnw';

/// nullptr when there is none. At most DISPATCH_LEVEL; aligned for any object. Not zeroed.
[[nodiscard]] inline void* allocate_pool(std::size_t bytes) noexcept {
    return ExAllocatePoolWithTag(NonPagedPoolNx, bytes, pool_tag);
}

inline void free_pool(void* memory) noexcept {
    ExFreePoolWithTag(memory, pool_tag);
}

}  // namespace wnbd::driver
