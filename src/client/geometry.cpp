// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/geometry.h"

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

}  // namespace wnbd::client
