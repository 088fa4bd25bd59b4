// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/storport/guarded_memory.h"

#include <bit>
#include <cstring>
#include <new>

#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

std::size_t capacity_for(std::size_t length) {
    return std::bit_ceil(length < 512 ? std::size_t{512} : length);
}

}  // namespace

std::size_t first_other(const std::uint8_t* bytes, std::size_t length, std::uint8_t value) {
    if (length == 0 || (bytes[0] == value && std::memcmp(bytes, bytes + 1, length - 1) == 0))
        return length;
    std::size_t at = 0;
    while (at < length && bytes[at] == value)
        ++at;
    return at;
}

std::uint8_t* ShadowPool::acquire(std::size_t length) {
    const std::size_t capacity = capacity_for(length);
    Buffer buffer;
    {
        const std::lock_guard lock(mutex_);
        std::deque<Buffer>& idle = idle_[capacity];
        if (idle.size() >= kIdleMin) {
            buffer = std::move(idle.front());
            idle.pop_front();
        }
    }
    if (buffer.bytes)
        verify(buffer);
    else
        buffer.bytes.reset(new (std::nothrow) std::uint8_t[capacity + kGuardBytes]);
    if (!buffer.bytes) return nullptr;
    std::memset(buffer.bytes.get(), kGarbage, length);
    std::memset(buffer.bytes.get() + length, kGuard, kGuardBytes);
    return buffer.bytes.release();
}

void ShadowPool::release(std::uint8_t* bytes, std::size_t length) {
    const std::size_t bad = first_other(bytes + length, kGuardBytes, kGuard);
    if (bad < kGuardBytes)
        report_violation("data buffer overrun", "byte %u behind a buffer of %u bytes was written",
                         static_cast<unsigned>(bad), static_cast<unsigned>(length));
    Buffer buffer{std::unique_ptr<std::uint8_t[]>(bytes), length + kGuardBytes};
    std::memset(bytes, kPoison, buffer.poisoned);
    const std::lock_guard lock(mutex_);
    idle_[capacity_for(length)].push_back(std::move(buffer));
}

void ShadowPool::verify(Buffer& buffer) {
    const std::size_t bad = first_other(buffer.bytes.get(), buffer.poisoned, kPoison);
    if (bad < buffer.poisoned)
        report_violation(
            "data touched after completion",
            "byte %u of a buffer of %u bytes was written after its request was complete",
            static_cast<unsigned>(bad), static_cast<unsigned>(buffer.poisoned - kGuardBytes));
    std::memset(buffer.bytes.get(), kPoison, buffer.poisoned);
}

void ShadowPool::verify_all() {
    const std::lock_guard lock(mutex_);
    for (auto& [capacity, idle] : idle_)
        for (Buffer& buffer : idle)
            verify(buffer);
}

}  // namespace wnbd::lab
