// SPDX-License-Identifier: LGPL-2.1-or-later
// What a SCSI disk says of itself. A value that does not change while the disk exists: the
// capacity, which may, is passed beside it.
#pragma once

#include <cstdint>

namespace wnbd::scsi {

constexpr std::uint32_t max_unmap_descriptors =
    256;  // per UNMAP command; user space may get fewer a call
constexpr std::uint32_t max_compare_and_write_blocks = 255;

struct Disk {
    std::uint32_t block_size = 512;            // bytes: 512 or 4096
    std::uint8_t physical_block_exponent = 0;  // 2^n logical blocks per physical block (512e: 3)
    std::uint32_t max_transfer_length = 2U << 20;      // bytes one step may carry
    std::uint32_t max_unmap_descriptors_per_step = 1;  // what user space takes at once; at least 1

    bool read_only = false;
    bool flush_supported = false;  // a volatile cache stands behind the disk (WCE)
    bool fua_supported = false;
    bool unmap_supported = false;     // thin provisioned
    bool unmap_reads_zeroes = false;  // unmapped blocks read as zeroes for certain (LBPRZ)
    bool extents_told = false;        // the server can be asked which blocks are deallocated
    bool or_write_supported = false;  // data-out lies in a buffer that a step may change
    bool persistent_reservations_supported = false;  // by the storage, which is asked

    bool has_naa = false;
    std::uint8_t naa[16] = {};
    char serial[256] = {};  // NUL-terminated
    char vendor[9] = "WNBD";
    char product[17] = "WNBD_DISK";
    char revision[5] = "1.0";
};

/// True for a description the functions of this folder may be given. Whoever builds a Disk from
/// what user space said asks this first: a block size of zero would be divided by.
[[nodiscard]] constexpr bool well_formed(const Disk& disk) noexcept {
    return (disk.block_size == 512 || disk.block_size == 4096) &&
           disk.physical_block_exponent <= 15 && disk.max_transfer_length >= 64U << 10 &&
           disk.max_unmap_descriptors_per_step >= 1;
}

}  // namespace wnbd::scsi
