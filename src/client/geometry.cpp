// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/geometry.h"

#include "client/abi_types.h"

namespace wnbd::client {

std::string size_complaint(std::string_view subject, std::uint64_t size, std::uint32_t block_size) {
    // Windows keeps disk sizes and offsets in signed 64-bit numbers.
    constexpr std::uint64_t disk_size_limit = std::uint64_t{1} << 63;
    const std::string invalid = "Invalid " + std::string(subject) + ": " + std::to_string(size);
    if (size == 0) return invalid + ". A disk has at least one block.";
    if (size >= disk_size_limit) return invalid + ". It must be below 2^63 bytes.";
    if (size % block_size != 0) {
        return invalid + " is not a multiple of the block size, " + std::to_string(block_size) +
               ".";
    }
    return {};
}

std::string block_size_complaint(std::uint64_t block_size) {
    if (block_size == 512 || block_size == 4096) return {};
    return "Invalid --block-size: " + std::to_string(block_size) + ". It must be 512 or 4096.";
}

Result<std::uint8_t, std::string> physical_block_exponent(std::uint64_t physical,
                                                          std::uint32_t block_size) {
    if (physical == 0) return std::uint8_t{0};
    std::uint8_t exponent = 0;
    while (std::uint64_t{block_size} << exponent < physical && exponent < 32)
        ++exponent;
    if (physical <= WNBD_MAX_PHYSICAL_BLOCK_SIZE &&
        std::uint64_t{block_size} << exponent == physical) {
        return exponent;
    }
    return Failure{"Invalid --physical-block-size: " + std::to_string(physical) +
                   ". It must be the block size times a power of two, at most " +
                   std::to_string(WNBD_MAX_PHYSICAL_BLOCK_SIZE) + "."};
}

}  // namespace wnbd::client
