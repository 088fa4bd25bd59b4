// SPDX-License-Identifier: LGPL-2.1-or-later
// Which sizes a disk can have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wnbd::client {

/// Why a disk of `block_size` > 0 bytes a block cannot have `size` bytes, as a sentence about
/// `subject` ("--memory"); empty when it can.
[[nodiscard]] std::string size_complaint(std::string_view subject, std::uint64_t size,
                                         std::uint32_t block_size);

}  // namespace wnbd::client
