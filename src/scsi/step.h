// SPDX-License-Identifier: LGPL-2.1-or-later
// How a block request becomes what user space (or a backend) can do: reads, writes, flushes,
// unmaps, one after the other. A step's payload and reply are moved straight between the two
// buffers, so that VERIFY, WRITE SAME and COMPARE AND WRITE need no scratch memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "scsi/command.h"

namespace wnbd::scsi {

enum class Verb : std::uint8_t {
    read,
    write,
    flush,
    unmap,
    get_lba_status,  // of the blocks from lba to block_count, by means of LbaStatus (lba_status.h)
    persistent_reserve_in,
    persistent_reserve_out,
};

/// Where a step's payload comes from.
enum class Source : std::uint8_t {
    none,
    data,            // the initiator's buffer, from data_offset on
    repeated_block,  // the buffer's first block, over and over
    zeroes,
    unmap_descriptors,  // descriptor_count of the initiator's list, from first_descriptor on
    unmap_range,        // one descriptor made of lba and blocks (WRITE SAME that unmaps)
};

/// What happens to a step's reply data.
enum class Sink : std::uint8_t {
    none,
    data,     // into the initiator's buffer
    combine,  // ORed into it
    compare,
    compare_repeated_block,
    discard,
};

struct Step {
    Verb verb = Verb::read;
    Source source = Source::none;
    Sink sink = Sink::none;
    bool force_unit_access = false;
    std::uint64_t lba = 0;
    std::uint32_t blocks = 0;            // flush: 0 means up to the end of the disk
    std::uint64_t block_count = 0;       // unmap, get_lba_status: the capacity, the end of all
    std::size_t data_offset = 0;         // bytes into the initiator's buffer
    std::uint32_t first_descriptor = 0;  // unmap
    std::uint32_t descriptor_count = 0;  // unmap
    std::size_t payload_length = 0;      // bytes user space receives (descriptors: 16 bytes each)
    std::size_t reply_length = 0;        // bytes user space gives back; get_lba_status: at most
};

/// One run of blocks to unmap, host order: the layout of WNBD_UNMAP_DESCRIPTOR.
struct UnmapDescriptor {
    std::uint64_t lba;
    std::uint32_t blocks;
    std::uint32_t reserved;
};
static_assert(sizeof(UnmapDescriptor) == 16);

/// The first step. Every BlockRequest has one.
[[nodiscard]] Step first_step(const Disk& disk, const BlockRequest& request) noexcept;

/// The step after `done`, or nothing when the request is complete. A pure function of its
/// arguments.
[[nodiscard]] std::optional<Step> next_step(const Disk& disk, const BlockRequest& request,
                                            const Step& done) noexcept;

/// True when the request must run alone on its disk (COMPARE AND WRITE and ORWRITE are atomic,
/// SBC-3 5.2, 5.12).
[[nodiscard]] bool runs_alone(const BlockRequest& request) noexcept;

/// Writes a step's payload to `out`, which holds at least step.payload_length bytes.
/// `data` is the initiator's whole buffer. An unmap descriptor that has changed since it was
/// checked, and now passes the end of the disk, becomes one of no blocks.
void fill_payload(const Disk& disk, const Step& step, std::span<const std::uint8_t> data,
                  std::span<std::uint8_t> out) noexcept;

/// Takes a step's reply. A reply shorter than step.reply_length counts as zeroes behind its end;
/// what is longer is ignored. The reply may change while it is read (it is user memory): nothing
/// but data depends on it. Gives GOOD, or MISCOMPARE with the byte offset in the sense's
/// information.
[[nodiscard]] Answer absorb_reply(const Disk& disk, const Step& step,
                                  std::span<const std::uint8_t> reply,
                                  std::span<std::uint8_t> data) noexcept;

/// The bytes a successful request reports as transferred. `last`: how its last step ended.
[[nodiscard]] std::size_t transferred(const BlockRequest& request, const Answer& last) noexcept;

}  // namespace wnbd::scsi
