// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory that tells when it is written where or when it must not be: a guard behind each piece, and
// poison in it from its release until it is handed out again, which is as late as can be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>

namespace wnbd::lab {

inline constexpr std::uint8_t kPoison = 0xDB;   ///< released: a read gives nonsense, a write shows
inline constexpr std::uint8_t kGuard = 0xFE;    ///< behind the end
inline constexpr std::uint8_t kGarbage = 0xA5;  ///< handed out: nobody may rely on zeros
inline constexpr std::size_t kGuardBytes = 64;

/// Offset of the first byte that is not `value`, or `length` when all are.
[[nodiscard]] std::size_t first_other(const std::uint8_t* bytes, std::size_t length,
                                      std::uint8_t value);

/// Payload buffers of any size with guards; thread-safe.
class ShadowPool {
  public:
    ShadowPool() = default;
    ~ShadowPool() { verify_all(); }
    ShadowPool(const ShadowPool&) = delete;
    ShadowPool& operator=(const ShadowPool&) = delete;

    /// `length` bytes of garbage; nullptr when there is no memory.
    [[nodiscard]] std::uint8_t* acquire(std::size_t length);
    /// Checks the guard, poisons, and keeps the buffer back for a while.
    void release(std::uint8_t* buffer, std::size_t length);
    /// Reports every kept buffer that was written to since its release.
    void verify_all();

  private:
    struct Buffer {
        std::unique_ptr<std::uint8_t[]> bytes;
        std::size_t poisoned = 0;
    };
    /// Released buffers that must lie idle before the oldest is used again.
    static constexpr std::size_t kIdleMin = 16;

    static void verify(Buffer& buffer);

    std::mutex mutex_;
    std::map<std::size_t, std::deque<Buffer>> idle_;  // by capacity
};

}  // namespace wnbd::lab
