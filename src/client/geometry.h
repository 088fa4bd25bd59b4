// SPDX-License-Identifier: LGPL-2.1-or-later
// Which sizes a disk can have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace wnbd::client {

/// Why a disk of `block_size` > 0 bytes a block cannot have `size` bytes, as a sentence about
/// `subject` ("--memory"); empty when it can.
[[nodiscard]] std::string size_complaint(std::string_view subject, std::uint64_t size,
                                         std::uint32_t block_size);

/// Why a disk cannot have blocks of `block_size` bytes, as a sentence; empty when it can.
[[nodiscard]] std::string block_size_complaint(std::uint64_t block_size);

/// The exponent n of `physical` = `block_size` * 2^n; `physical` 0 is the block size. The error is
/// a sentence.
[[nodiscard]] Result<std::uint8_t, std::string> physical_block_exponent(std::uint64_t physical,
                                                                        std::uint32_t block_size);

}  // namespace wnbd::client
