// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/buffer_pool.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>

namespace wnbd::iscsi {
namespace {

constexpr std::align_val_t alignment{BufferPool::smallest};

constexpr std::size_t size_of(unsigned size_class) noexcept {
    return BufferPool::smallest << size_class;
}

constexpr unsigned class_of(std::size_t size) noexcept {
    return static_cast<unsigned>(std::bit_width((size - 1) / BufferPool::smallest));
}
static_assert(class_of(1) == 0 && class_of(4096) == 0 && class_of(4097) == 1);
static_assert(class_of(BufferPool::largest) == 14);

}  // namespace

void Buffer::reset() noexcept {
    if (data_ == nullptr) return;
    pool_->give_back(data_, size_class_);
    data_ = nullptr;
    pool_ = nullptr;
}

BufferPool::~BufferPool() {
    free_unused_until(SIZE_MAX);
}

Buffer BufferPool::take(std::size_t size) noexcept {
    if (size == 0 || size > largest) return {};
    const unsigned index = class_of(size);
    SizeClass& in = classes_[index];
    std::uint8_t* data = nullptr;
    {
        const std::lock_guard lock(in.lock);
        if (in.unused != nullptr) {
            data = reinterpret_cast<std::uint8_t*>(in.unused);
            in.unused = in.unused->next;
        }
    }
    if (data == nullptr) data = allocate(size_of(index));
    if (data == nullptr) return {};
    in_use_.fetch_add(size_of(index), std::memory_order_relaxed);
    return {*this, data, static_cast<std::uint8_t>(index)};
}

void BufferPool::warm_up() noexcept {
    constexpr std::size_t largest_warm = std::size_t{1} << 20;
    constexpr std::size_t small_count = 64;
    constexpr std::size_t count = 8;
    std::array<Buffer, small_count> taken;
    for (std::size_t size = smallest; size <= largest_warm; size *= 2) {
        const auto some = std::span(taken).first(size == smallest ? small_count : count);
        for (Buffer& one : some) {
            one = take(size);
            if (one) std::memset(one.data(), 0, size);
        }
        for (Buffer& one : some)
            one.reset();
    }
}

std::uint8_t* BufferPool::allocate(std::size_t size) noexcept {
    if (!reserve(size)) {
        // What lies about in other sizes is of no use now.
        free_unused_until(size);
        if (!reserve(size)) return nullptr;
    }
    void* const data = ::operator new(size, alignment, std::nothrow);
    if (data == nullptr) allocated_.fetch_sub(size, std::memory_order_relaxed);
    return static_cast<std::uint8_t*>(data);
}

bool BufferPool::reserve(std::size_t size) noexcept {
    std::size_t now = allocated();
    do {
        if (size > limit_ || now > limit_ - size) return false;
    } while (!allocated_.compare_exchange_weak(now, now + size, std::memory_order_relaxed));
    return true;
}

/// Frees unused buffers, the largest first, until `size` bytes fit below the limit.
void BufferPool::free_unused_until(std::size_t size) noexcept {
    for (unsigned index = classes; index-- > 0;) {
        SizeClass& in = classes_[index];
        const std::lock_guard lock(in.lock);
        while (in.unused != nullptr) {
            if (size <= limit_ && allocated() <= limit_ - size) return;
            Unused* const victim = in.unused;
            in.unused = victim->next;
            ::operator delete(victim, alignment);
            allocated_.fetch_sub(size_of(index), std::memory_order_relaxed);
        }
    }
}

void BufferPool::give_back(std::uint8_t* data, std::uint8_t size_class) noexcept {
    in_use_.fetch_sub(size_of(size_class), std::memory_order_relaxed);
    SizeClass& in = classes_[size_class];
    const std::lock_guard lock(in.lock);
    in.unused = ::new (data) Unused{in.unused};
}

}  // namespace wnbd::iscsi
