// SPDX-License-Identifier: LGPL-2.1-or-later
// A SCSI disk as pure logic: a CDB and a disk in; an answer, or a request for blocks, out.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "scsi/disk.h"
#include "scsi/nexus.h"
#include "scsi/sense.h"

namespace wnbd::scsi {

/// What the initiator's buffer is there for. A front end that locks it for one of the two must not
/// have it used for the other.
enum class BufferUse : std::uint8_t { any, data_in, data_out };

/// A command as the initiator sent it.
struct Command {
    std::span<const std::uint8_t> cdb;
    /// The initiator's data buffer, both directions. May be empty for READ and WRITE commands,
    /// whose payload is not looked at here; every other command's buffer must be there.
    std::span<std::uint8_t> data;
    /// Bytes the buffer holds, also when `data` is empty.
    std::size_t data_length = 0;
    /// Who sent it.
    Nexus nexus = 0;
    /// The buffer is what the initiator offers for a WRITE, which may be less than the CDB asks for
    /// and is no error of the command's: the whole blocks that are there are written (RFC 7143,
    /// 11.4.5.1). Without it such a command is refused.
    bool may_fall_short = false;
    /// A command that moves data the other way has no buffer.
    BufferUse buffer_use = BufferUse::any;
};

/// The command is finished.
struct Answer {
    Status status = Status::good;
    Sense sense{};  // with check_condition
    std::size_t transferred =
        0;  // data-in bytes written to (or data-out bytes taken from) the buffer
};

enum class Action : std::uint8_t {
    read,
    write,
    flush,
    unmap,
    verify,
    write_same,
    write_and_verify,
    compare_and_write,
    or_write,
    get_lba_status,
    persistent_reserve_in,
    persistent_reserve_out,
};

/// A checked command that needs the blocks: ranges, lengths, read-only and capabilities have been
/// checked, so that only the storage itself can fail it.
struct BlockRequest {
    Action action = Action::read;
    bool force_unit_access = false;
    bool byte_check = false;          // verify, write_and_verify: compare with the data-out buffer
    bool byte_check_repeats = false;  // verify BYTCHK 11b: one block is compared with every block
    bool unmap = false;               // write_same: may unmap instead of write
    bool zeroes = false;              // write_same: NDOB, or the block is all zeroes
    std::uint64_t lba = 0;
    std::uint64_t blocks = 0;            // flush: 0 means up to the end of the disk
    std::uint64_t block_count = 0;       // the capacity that the ranges were checked against
    std::uint32_t descriptor_count = 0;  // unmap: in the parameter list, from byte 8 on
    /// unmap: bit n of this set is one when descriptor n had blocks to unmap as it was checked.
    std::uint64_t descriptors_in_use[max_unmap_descriptors / 64] = {};
    std::size_t data_length = 0;  // bytes of the initiator's buffer that take part
    struct {
        std::uint8_t service_action = 0;
        std::uint8_t scope = 0;
        std::uint8_t type = 0;
        std::uint32_t length = 0;  // allocation or parameter list length, bytes
    } reservation;
};

/// A checked command about the disk's own reservations: Reservations (reservations.h) answers it.
struct ReservationCommand {
    enum class Kind : std::uint8_t { persistent_in, persistent_out, reserve, release };
    Kind kind = Kind::persistent_in;
    std::uint8_t service_action = 0;  // persistent_in, persistent_out
    std::uint8_t scope = 0;           // persistent_out, as in the CDB
    std::uint8_t type = 0;
    std::uint64_t key = 0;  // persistent_out: RESERVATION KEY
    std::uint64_t service_action_key = 0;
    std::size_t list_length = 0;     // persistent_out: bytes of the parameter list
    std::span<std::uint8_t> room{};  // persistent_in: where data-in may go
};

using Decision = std::variant<Answer, BlockRequest, ReservationCommand>;

/// What a command is to a reservation of another initiator's (SPC-4 and SBC-3, commands allowed in
/// the presence of various reservations).
enum class Access : std::uint8_t {
    unrestricted,  // passes all of them
    readiness,     // TEST UNIT READY: passes persistent ones
    reads,         // passes those that exclude writes
    writes,        // passes none
    reservations,  // about reservations: its own rules say
};

/// The access a CDB asks for. What decode() refuses as unknown is unrestricted.
[[nodiscard]] Access access_of(const Disk& disk, std::span<const std::uint8_t> cdb) noexcept;

/// Reads a CDB against a disk of `block_count` logical blocks. Every refusal is an Answer with
/// CHECK CONDITION and sense data. Touches nothing but command.data. Thread-safe.
[[nodiscard]] Decision decode(const Disk& disk, std::uint64_t block_count,
                              const Command& command) noexcept;

/// True for the commands that report a pending unit attention instead of running (SAM-5 5.14: all
/// but INQUIRY, REPORT LUNS and REQUEST SENSE).
[[nodiscard]] bool reports_unit_attention(std::span<const std::uint8_t> cdb) noexcept;

/// A CHECK CONDITION.
[[nodiscard]] constexpr Answer refuse(SenseKey key, AdditionalSense additional) noexcept {
    return Answer{Status::check_condition, Sense{key, additional}, 0};
}

}  // namespace wnbd::scsi
