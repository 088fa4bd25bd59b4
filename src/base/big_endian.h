// SPDX-License-Identifier: LGPL-2.1-or-later
// Big-endian fields, as SCSI, NBD and iSCSI put them on the wire.
#pragma once

#include <cstdint>

namespace wnbd {

/// Reads an unsigned big-endian integer of sizeof(T) bytes. The caller has checked the length.
template <typename T>
[[nodiscard]] constexpr T load_big_endian(const std::uint8_t* from) noexcept {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < sizeof(T); ++i)
        value = (value << 8) | from[i];
    return static_cast<T>(value);
}

/// Writes an unsigned big-endian integer of sizeof(T) bytes. The caller has checked the length.
template <typename T>
constexpr void store_big_endian(std::uint8_t* to, T value) noexcept {
    for (unsigned i = 0; i < sizeof(T); ++i)
        to[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >>
                                          (8 * (sizeof(T) - 1 - i)));
}

/// A 24-bit field, as READ(6)-style CDBs and iSCSI segment lengths have them.
[[nodiscard]] constexpr std::uint32_t load_big_endian_24(const std::uint8_t* from) noexcept {
    return (std::uint32_t{from[0]} << 16) | (std::uint32_t{from[1]} << 8) | from[2];
}

}  // namespace wnbd
