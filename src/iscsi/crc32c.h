// SPDX-License-Identifier: LGPL-2.1-or-later
// CRC32C (RFC 7143, 13.1): header and data digests.
#pragma once

#include <cstdint>
#include <span>

namespace wnbd::iscsi {

/// The digest of what was fed so far. A value. Uses the processor's instruction where it has one.
class Crc32c {
  public:
    void feed(std::span<const std::uint8_t> bytes) noexcept;
    /// As it goes on the wire when stored in little-endian order.
    [[nodiscard]] std::uint32_t value() const noexcept { return ~state_; }

  private:
    std::uint32_t state_ = 0xFFFF'FFFF;
};

// The two ways to take bytes into a digest's state; feed() chooses.

[[nodiscard]] std::uint32_t crc32c_by_table(std::uint32_t state,
                                            std::span<const std::uint8_t> bytes) noexcept;
/// Only where crc32c_instruction_here() says so.
[[nodiscard]] std::uint32_t crc32c_by_instruction(std::uint32_t state,
                                                  std::span<const std::uint8_t> bytes) noexcept;
[[nodiscard]] bool crc32c_instruction_here() noexcept;

}  // namespace wnbd::iscsi
