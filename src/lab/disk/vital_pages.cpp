// SPDX-License-Identifier: LGPL-2.1-or-later
// What the unit's vital product data tells the disk class about its blocks: B0h, B1h and B2h.
#include "base/big_endian.h"
#include "lab/disk/disk.h"

namespace wnbd::lab {
namespace {

constexpr std::uint8_t kBlockLimits = 0xB0;
constexpr std::uint8_t kBlockCharacteristics = 0xB1;
constexpr std::uint8_t kProvisioning = 0xB2;
constexpr std::size_t kPageBytes = 64;

/// Bytes of the page; 0 when the unit does not have it.
std::size_t read_page(Disk& disk, std::uint8_t page, std::uint8_t (&bytes)[kPageBytes]) {
    Request request;
    request.cdb[0] = 0x12;  // INQUIRY
    request.cdb[1] = 1;     // EVPD
    request.cdb[2] = page;
    request.cdb[4] = kPageBytes;
    request.cdb_length = 6;
    request.direction = Direction::In;
    request.data = bytes;
    request.data_length = kPageBytes;
    if (!NT_SUCCESS(run_command(disk, request)) || request.transferred < 4) return 0;
    return bytes[1] == page ? request.transferred : 0;
}

}  // namespace

BlockTraits read_block_traits(Disk& disk) {
    BlockTraits traits;
    std::uint8_t page[kPageBytes] = {};
    if (read_page(disk, kBlockLimits, page) >= 36) {
        traits.unmap_blocks_max = load_big_endian<std::uint32_t>(page + 20);
        traits.unmap_descriptors_max = load_big_endian<std::uint32_t>(page + 24);
        traits.unmap_granularity = load_big_endian<std::uint32_t>(page + 28);
    }
    if (read_page(disk, kBlockCharacteristics, page) >= 6)
        traits.rotates = load_big_endian<std::uint16_t>(page + 4) != 1;
    if (read_page(disk, kProvisioning, page) >= 8) {
        traits.unmap = (page[5] & 0x80) != 0;                // LBPU
        traits.unmapped_reads_zero = (page[5] & 0x04) != 0;  // LBPRZ
        traits.thin = (page[6] & 0x07) == 2;
    }
    return traits;
}

}  // namespace wnbd::lab
