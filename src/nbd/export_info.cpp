// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/export_info.h"

#include <bit>

namespace wnbd::nbd {
namespace {

constexpr std::uint64_t no_limit = 0xffffffff;  // "maximum payload" of a server without one

}  // namespace

Fault check_export(const ExportInfo& info) {
    if (info.size == 0) return {.code = FaultCode::size_zero};
    if (info.size > max_export_size)
        return {.code = FaultCode::size_too_large, .got = info.size, .expected = max_export_size};
    if (!std::has_single_bit(info.minimum_block) || info.minimum_block > largest_minimum_block)
        return {.code = FaultCode::bad_block_size, .got = info.minimum_block, .text = "minimum"};
    if (!std::has_single_bit(info.preferred_block) || info.preferred_block < info.minimum_block)
        return {
            .code = FaultCode::bad_block_size, .got = info.preferred_block, .text = "preferred"};
    if (info.maximum_payload < info.minimum_block ||
        (info.maximum_payload != no_limit && info.maximum_payload % info.minimum_block != 0))
        return {.code = FaultCode::bad_block_size, .got = info.maximum_payload, .text = "maximum"};
    return {};
}

}  // namespace wnbd::nbd
