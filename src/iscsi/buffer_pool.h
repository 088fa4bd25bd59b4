// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory that commands' data passes through: buffers of a few sizes, kept when they come back,
// so that a target that has warmed up allocates nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace wnbd::iscsi {

class BufferPool;

/// A buffer of a pool's, given back when it goes. Empty, or at least as large as was asked for.
class Buffer {
  public:
    Buffer() noexcept = default;
    Buffer(Buffer&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          data_(std::exchange(other.data_, nullptr)),
          size_class_(other.size_class_) {}
    Buffer& operator=(Buffer&& other) noexcept {
        if (this != &other) {
            reset();
            pool_ = std::exchange(other.pool_, nullptr);
            data_ = std::exchange(other.data_, nullptr);
            size_class_ = other.size_class_;
        }
        return *this;
    }
    ~Buffer() { reset(); }

    void reset() noexcept;
    [[nodiscard]] std::uint8_t* data() const noexcept { return data_; }
    [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

  private:
    friend class BufferPool;
    Buffer(BufferPool& pool, std::uint8_t* data, std::uint8_t size_class) noexcept
        : pool_(&pool), data_(data), size_class_(size_class) {}

    BufferPool* pool_ = nullptr;
    std::uint8_t* data_ = nullptr;
    std::uint8_t size_class_ = 0;
};

/// Thread-safe. Outlives its buffers.
class BufferPool {
  public:
    static constexpr std::size_t smallest = 4096;  // bytes; also the alignment
    static constexpr std::size_t largest = smallest << 14;

    /// Never has more than `limit` bytes allocated, used or not.
    explicit BufferPool(std::size_t limit) noexcept : limit_(limit) {}
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;
    ~BufferPool();

    /// Empty when `size` bytes (1 to `largest`) are more than is left.
    [[nodiscard]] Buffer take(std::size_t size) noexcept;

    /// Has buffers ready, in memory that is there, for as much as goes on at once in most cases: 64
    /// of the smallest and 8 of every other size up to 1 MiB, 16 MiB together.
    void warm_up() noexcept;

    [[nodiscard]] std::size_t allocated() const noexcept {
        return allocated_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t in_use() const noexcept {
        return in_use_.load(std::memory_order_relaxed);
    }

  private:
    friend class Buffer;
    static constexpr unsigned classes = 15;

    /// What an unused buffer holds.
    struct Unused {
        Unused* next;
    };
    struct alignas(64) SizeClass {
        std::mutex lock;  // guards `unused`
        Unused* unused = nullptr;
    };

    [[nodiscard]] std::uint8_t* allocate(std::size_t size) noexcept;
    [[nodiscard]] bool reserve(std::size_t size) noexcept;
    void free_unused_until(std::size_t size) noexcept;
    void give_back(std::uint8_t* data, std::uint8_t size_class) noexcept;

    const std::size_t limit_;
    std::atomic<std::size_t> allocated_{0};
    std::atomic<std::size_t> in_use_{0};
    std::array<SizeClass, classes> classes_;
};

}  // namespace wnbd::iscsi
