// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/wine/late_free.h"

#include <array>
#include <cstddef>
#include <mutex>
#include <utility>

namespace wnbd::lab::wine {
namespace {

constexpr std::size_t kKept = 4096;
constexpr SIZE_T kSmall = 2048;  // bytes; IRPs are smaller, payload is larger

struct Block {
    HANDLE heap = nullptr;
    DWORD flags = 0;
    void* memory = nullptr;
};

std::mutex ring_mutex;
std::array<Block, kKept> ring;
std::size_t oldest = 0;

}  // namespace

BOOL WINAPI late_heap_free(HANDLE heap, DWORD flags, void* block) {
    if (block == nullptr || HeapSize(heap, 0, block) > kSmall) return HeapFree(heap, flags, block);
    Block due{heap, flags, block};
    {
        const std::lock_guard lock(ring_mutex);
        std::swap(due, ring[oldest]);
        oldest = (oldest + 1) % kKept;
    }
    return due.memory == nullptr || HeapFree(due.heap, due.flags, due.memory);
}

}  // namespace wnbd::lab::wine
