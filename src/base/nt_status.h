// SPDX-License-Identifier: LGPL-2.1-or-later
// The NTSTATUS values that the ioctl surface answers with, for code that sees no Windows header.
#pragma once

#include <cstdint>

namespace wnbd::nt {

using Status = std::int32_t;

namespace detail {
constexpr Status status(std::uint32_t bits) noexcept {
    return static_cast<Status>(bits);
}
}  // namespace detail

constexpr Status success = 0;
constexpr Status alerted = detail::status(0x00000101);
constexpr Status buffer_overflow = detail::status(0x80000005);
constexpr Status access_violation = detail::status(0xC0000005);
constexpr Status invalid_handle = detail::status(0xC0000008);
constexpr Status invalid_parameter = detail::status(0xC000000D);
constexpr Status invalid_device_request = detail::status(0xC0000010);
constexpr Status access_denied = detail::status(0xC0000022);
constexpr Status buffer_too_small = detail::status(0xC0000023);
constexpr Status object_type_mismatch = detail::status(0xC0000024);
constexpr Status object_name_not_found = detail::status(0xC0000034);
constexpr Status object_name_collision = detail::status(0xC0000035);
constexpr Status insufficient_resources = detail::status(0xC000009A);
constexpr Status internal_error = detail::status(0xC00000E5);
constexpr Status cancelled = detail::status(0xC0000120);
constexpr Status too_many_addresses = detail::status(0xC0000209);
constexpr Status not_found = detail::status(0xC0000225);
constexpr Status shutdown_in_progress = detail::status(0xC00002FE);

[[nodiscard]] constexpr bool failed(Status status) noexcept {
    return status < 0;
}

}  // namespace wnbd::nt
