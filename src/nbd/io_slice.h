// SPDX-License-Identifier: LGPL-2.1-or-later
// One piece of a scatter/gather list, whatever the operating system calls it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::nbd {

struct IoSlice {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;  // bytes
};

}  // namespace wnbd::nbd
