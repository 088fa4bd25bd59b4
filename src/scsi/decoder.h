// SPDX-License-Identifier: LGPL-2.1-or-later
// Private to src/scsi: what every command's decoder is given, and what they share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/big_endian.h"
#include "base/byte_writer.h"
#include "scsi/command.h"

namespace wnbd::scsi {

struct Context {
    const Disk& disk;
    std::uint64_t block_count;
    std::span<const std::uint8_t> cdb;  // exactly as long as its operation code says
    const Command& command;

    template <typename T>
    [[nodiscard]] T field(std::size_t offset) const noexcept {
        return load_big_endian<T>(cdb.data() + offset);
    }

    /// The part of the initiator's buffer that is really there.
    [[nodiscard]] std::span<std::uint8_t> buffer() const noexcept {
        return command.data.first(std::min(command.data.size(), command.data_length));
    }

    /// Where data-in may go: the allocation length truncates (SPC-4 4.2.5.6), the buffer as well.
    [[nodiscard]] std::span<std::uint8_t> room(std::uint64_t allocation_length) const noexcept {
        const auto whole = buffer();
        return whole.first(
            static_cast<std::size_t>(std::min<std::uint64_t>(allocation_length, whole.size())));
    }
};

using Decoder = Decision (*)(const Context& context) noexcept;

/// The blocks a CDB addresses. READ, WRITE, VERIFY, SYNCHRONIZE CACHE, PRE-FETCH and WRITE SAME put
/// them in the same places for a given CDB length (SPC-4).
struct BlockRange {
    std::uint64_t lba;
    std::uint64_t blocks;
};

[[nodiscard]] inline BlockRange block_range(std::span<const std::uint8_t> cdb) noexcept {
    const auto* const bytes = cdb.data();
    switch (cdb.size()) {
        case 6: {
            const std::uint32_t blocks = bytes[4];
            return {load_big_endian_24(bytes + 1) & 0x1FFFFFU, blocks == 0 ? 256 : blocks};
        }
        case 10:
            return {load_big_endian<std::uint32_t>(bytes + 2),
                    load_big_endian<std::uint16_t>(bytes + 7)};
        case 12:
            return {load_big_endian<std::uint32_t>(bytes + 2),
                    load_big_endian<std::uint32_t>(bytes + 6)};
        default:
            return {load_big_endian<std::uint64_t>(bytes + 2),
                    load_big_endian<std::uint32_t>(bytes + 10)};
    }
}

/// A range of no blocks may begin right behind the last one, not further.
[[nodiscard]] constexpr bool in_range(std::uint64_t block_count, std::uint64_t lba,
                                      std::uint64_t blocks) noexcept {
    return lba <= block_count && blocks <= block_count - lba;
}

[[nodiscard]] constexpr Answer good(std::size_t transferred = 0) noexcept {
    return Answer{Status::good, Sense{}, transferred};
}

[[nodiscard]] constexpr Answer illegal(AdditionalSense additional) noexcept {
    return refuse(SenseKey::illegal_request, additional);
}

[[nodiscard]] constexpr Answer invalid_field() noexcept {
    return illegal(AdditionalSense::invalid_field_in_cdb);
}

/// The same, naming the byte of the CDB.
[[nodiscard]] constexpr Answer invalid_field_at(std::uint8_t byte) noexcept {
    Answer answer = invalid_field();
    answer.sense.cdb_field = byte;
    return answer;
}

[[nodiscard]] constexpr Answer out_of_range() noexcept {
    return illegal(AdditionalSense::lba_out_of_range);
}

[[nodiscard]] constexpr Answer write_protected() noexcept {
    return refuse(SenseKey::data_protect, AdditionalSense::write_protected);
}

// One per command, in the file of its topic.
Decision decode_inquiry(const Context& context) noexcept;
Decision decode_vital_product_data(const Context& context) noexcept;
Decision decode_mode_sense(const Context& context) noexcept;
Decision decode_mode_select(const Context& context) noexcept;
Decision decode_read_capacity_10(const Context& context) noexcept;
Decision decode_read_capacity_16(const Context& context) noexcept;
Decision decode_get_lba_status(const Context& context) noexcept;
Decision decode_read(const Context& context) noexcept;
Decision decode_write(const Context& context) noexcept;
Decision decode_write_and_verify(const Context& context) noexcept;
Decision decode_verify(const Context& context) noexcept;
Decision decode_compare_and_write(const Context& context) noexcept;
Decision decode_or_write(const Context& context) noexcept;
Decision decode_synchronize_cache(const Context& context) noexcept;
Decision decode_prefetch(const Context& context) noexcept;
Decision decode_write_same(const Context& context) noexcept;
Decision decode_unmap(const Context& context) noexcept;
Decision decode_persistent_reserve_in(const Context& context) noexcept;
Decision decode_persistent_reserve_out(const Context& context) noexcept;
Decision decode_reserve(const Context& context) noexcept;
Decision decode_release(const Context& context) noexcept;
Decision decode_test_unit_ready(const Context& context) noexcept;
Decision decode_request_sense(const Context& context) noexcept;
Decision decode_start_stop_unit(const Context& context) noexcept;
Decision decode_prevent_allow_medium_removal(const Context& context) noexcept;
Decision decode_send_diagnostic(const Context& context) noexcept;
Decision decode_receive_diagnostic_results(const Context& context) noexcept;
Decision decode_read_defect_data(const Context& context) noexcept;
Decision decode_report_luns(const Context& context) noexcept;
Decision decode_report_supported_operation_codes(const Context& context) noexcept;
Decision decode_report_supported_task_management(const Context& context) noexcept;

}  // namespace wnbd::scsi
