// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk in memory that allocates only what was written.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "backend/backend.h"
#include "base/result.h"

namespace wnbd::backend {

/// Serves in the submitting thread. Requests for the same 64 KiB chunk follow one another; others
/// run side by side.
class MemoryBackend final : public Backend {
  public:
    static constexpr std::uint64_t max_size = std::uint64_t{16} << 40;  // bytes

    /// `size` in bytes, 1 to max_size.
    [[nodiscard]] static Result<std::unique_ptr<Backend>, std::string> create(std::uint64_t size);
    ~MemoryBackend() override;

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    void submit(Request& request) noexcept override;
    void close() noexcept override { closed_.store(true, std::memory_order_relaxed); }

  private:
    using Chunk = std::uint8_t*;  // chunk_size bytes, or nullptr: all zero
    struct Free {
        void operator()(void* memory) const noexcept { std::free(memory); }
    };
    static constexpr std::uint64_t chunk_size = 64U << 10;
    static constexpr std::size_t lock_count = 64;

    MemoryBackend(std::uint64_t size, std::unique_ptr<Chunk[], Free> chunks) noexcept;
    [[nodiscard]] Error perform(Request& request) noexcept;
    [[nodiscard]] Extent extent_at(std::uint64_t offset) const noexcept;
    [[nodiscard]] Error perform_in_chunk(const Request& request, std::uint64_t at,
                                         std::uint64_t count) noexcept;

    Properties properties_;
    std::uint64_t chunk_count_;
    std::unique_ptr<Chunk[], Free> chunks_;  // chunk i is guarded by locks_[i % lock_count]
    mutable std::array<std::mutex, lock_count> locks_;
    std::atomic<bool> closed_{false};
};

}  // namespace wnbd::backend
