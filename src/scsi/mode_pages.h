// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to src/scsi: the mode pages, which MODE SENSE tells and MODE SELECT compares with.
#pragma once

#include <cstdint>

#include "base/byte_writer.h"
#include "scsi/disk.h"

namespace wnbd::scsi {

constexpr std::uint8_t all_mode_pages = 0x3F;

/// All pages together stay below this; a buffer of so many bytes holds any of them.
constexpr std::size_t mode_pages_length_max = 64;

constexpr std::size_t short_block_descriptor_length = 8;
constexpr std::size_t long_block_descriptor_length = 16;

/// Writes the page `code`, or all pages ascending for all_mode_pages, header included. With
/// `changeable`, the mask of what MODE SELECT may change: nothing. Returns false, and writes
/// nothing, for a page that this disk does not have.
bool write_mode_pages(const Disk& disk, std::uint8_t code, bool changeable,
                      ByteWriter& out) noexcept;

}  // namespace wnbd::scsi
