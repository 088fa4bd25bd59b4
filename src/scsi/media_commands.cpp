// SPDX-License-Identifier: LGPL-2.1-or-later
// The commands that read, write, verify and flush blocks (SBC-3, clause 5). Each is checked in this
// order: fields of the CDB, write protection, range, limits, the initiator's buffer.
#include "scsi/decoder.h"
#include "scsi/limits.h"

namespace wnbd::scsi {
namespace {

constexpr std::uint8_t fua_bit = 0x08;

/// Byte 1 of every 10, 12 and 16 byte CDB here: RDPROTECT, WRPROTECT or VRPROTECT. The disk is
/// never formatted with protection information, so that anything but 0 is an invalid field
/// (SBC-3, protection information).
bool asks_for_protection(const Context& context) noexcept {
    return context.cdb.size() > 6 && (context.cdb[1] & 0xE0) != 0;
}

bool asks_for_fua(const Context& context) noexcept {
    return context.cdb.size() > 6 && (context.cdb[1] & fua_bit) != 0;
}

BlockRequest request_of(Action action, const Context& context, BlockRange range) noexcept {
    BlockRequest request;
    request.action = action;
    request.lba = range.lba;
    request.blocks = range.blocks;
    request.block_count = context.block_count;
    return request;
}

/// The checks a transfer of blocks has in common. `data_blocks` take part in the initiator's
/// buffer. A buffer that is too small for the CDB is refused as an invalid field: the TRANSFER
/// LENGTH asks for what the initiator did not provide, and nothing may move beyond the buffer.
Decision transfer(const Context& context, BlockRequest request,
                  std::uint64_t data_blocks) noexcept {
    if (!in_range(context.block_count, request.lba, request.blocks)) return out_of_range();
    if (request.blocks > transfer_blocks_max(context.disk)) return invalid_field();
    const std::uint64_t bytes = data_blocks * context.disk.block_size;
    if (bytes > context.command.data_length) return invalid_field();
    if (request.blocks == 0) return good();  // "shall not be considered an error"
    request.data_length = static_cast<std::size_t>(bytes);
    return request;
}

/// A write is checked as the CDB has it, and cut afterwards to the blocks that are offered.
Decision write(const Context& context, const BlockRequest& request) noexcept {
    const std::uint64_t offered = context.command.data_length / context.disk.block_size;
    if (!context.command.may_fall_short || offered >= request.blocks)
        return transfer(context, request, request.blocks);
    const Decision whole = transfer(context, request, 0);
    const auto* const checked = std::get_if<BlockRequest>(&whole);
    if (checked == nullptr) return whole;
    BlockRequest cut = *checked;
    cut.blocks = offered;
    return transfer(context, cut, offered);
}

}  // namespace

Decision decode_read(const Context& context) noexcept {
    if (asks_for_protection(context)) return invalid_field();
    BlockRequest request = request_of(Action::read, context, block_range(context.cdb));
    request.force_unit_access = asks_for_fua(context);
    return transfer(context, request, request.blocks);
}

Decision decode_write(const Context& context) noexcept {
    if (asks_for_protection(context)) return invalid_field();
    if (context.disk.read_only) return write_protected();
    BlockRequest request = request_of(Action::write, context, block_range(context.cdb));
    request.force_unit_access = asks_for_fua(context);
    return write(context, request);
}

// SBC-3, WRITE AND VERIFY: BYTCHK is two bits, 10b and 11b are reserved.
Decision decode_write_and_verify(const Context& context) noexcept {
    const unsigned byte_check = (context.cdb[1] >> 1) & 0x03;
    if (asks_for_protection(context) || byte_check > 1) return invalid_field();
    if (context.disk.read_only) return write_protected();
    BlockRequest request = request_of(Action::write_and_verify, context, block_range(context.cdb));
    request.byte_check = byte_check == 1;
    return write(context, request);
}

// SBC-3, VERIFY: BYTCHK 00b no data, 01b as much data as blocks, 10b reserved, 11b one block of
// data that every block is compared with.
Decision decode_verify(const Context& context) noexcept {
    const unsigned byte_check = (context.cdb[1] >> 1) & 0x03;
    if (asks_for_protection(context) || byte_check == 2) return invalid_field();
    BlockRequest request = request_of(Action::verify, context, block_range(context.cdb));
    request.byte_check = byte_check != 0;
    request.byte_check_repeats = byte_check == 3;
    std::uint64_t data_blocks = 0;
    if (byte_check == 1) data_blocks = request.blocks;
    if (byte_check == 3) data_blocks = request.blocks == 0 ? 0 : 1;
    return transfer(context, request, data_blocks);
}

// SBC-3, COMPARE AND WRITE: the buffer holds the blocks to compare with, then the blocks to write.
Decision decode_compare_and_write(const Context& context) noexcept {
    if (asks_for_protection(context)) return invalid_field();
    if (context.disk.read_only) return write_protected();
    // The field has one byte, so that it cannot pass MAXIMUM COMPARE AND WRITE LENGTH.
    static_assert(max_compare_and_write_blocks == 0xFF);
    const BlockRange range{context.field<std::uint64_t>(2), context.cdb[13]};
    BlockRequest request = request_of(Action::compare_and_write, context, range);
    request.force_unit_access = asks_for_fua(context);
    // More data than the CDB asks for is harmless elsewhere. Here the CDB says where the buffer is
    // divided, and writing the wrong half is worse than refusing.
    const std::uint64_t bytes = 2 * range.blocks * context.disk.block_size;
    if (context.command.data_length > bytes) return invalid_field();
    return transfer(context, request, 2 * range.blocks);
}

// SBC-3, ORWRITE (16): what is on the medium is ORed into the data, which is then written.
Decision decode_or_write(const Context& context) noexcept {
    if (asks_for_protection(context)) return invalid_field();
    if (context.disk.read_only) return write_protected();
    BlockRequest request = request_of(Action::or_write, context, block_range(context.cdb));
    request.force_unit_access = asks_for_fua(context);
    return transfer(context, request, request.blocks);
}

// SBC-3, SYNCHRONIZE CACHE. IMMED permits to answer before the flush is done, it does not ask for
// it: the end is always waited for, so that a failure reaches the one who asked. Zero blocks: up to
// the end.
Decision decode_synchronize_cache(const Context& context) noexcept {
    const BlockRange range = block_range(context.cdb);
    if (!in_range(context.block_count, range.lba, range.blocks)) return out_of_range();
    // Without a volatile cache, and on a disk that nobody can have written to, all is on the
    // medium.
    if (!context.disk.flush_supported || context.disk.read_only) return good();
    return request_of(Action::flush, context, range);
}

// SBC-3, PRE-FETCH. There is no cache of ours to fetch into. GOOD says just that, CONDITION MET
// would say that all blocks are cached now. Zero blocks: up to the end.
Decision decode_prefetch(const Context& context) noexcept {
    const BlockRange range = block_range(context.cdb);
    if (!in_range(context.block_count, range.lba, range.blocks)) return out_of_range();
    return good();
}

}  // namespace wnbd::scsi
