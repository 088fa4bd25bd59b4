// SPDX-License-Identifier: LGPL-2.1-or-later
// What every backend checks before it serves a request.
#pragma once

#include "backend/backend.h"

namespace wnbd::backend {

/// Error::none when the request is within the disk, aligned, and something the backend can do.
/// `size`: of the disk as it is now, in bytes.
[[nodiscard]] inline Error check_request(const Request& request, const Properties& properties,
                                         std::uint64_t size) noexcept {
    const bool has_payload =
        request.operation == Operation::read || request.operation == Operation::write;
    switch (request.operation) {
        case Operation::read: break;
        case Operation::write:
            if (properties.read_only) return Error::not_permitted;
            break;
        case Operation::flush: return properties.can_flush ? Error::none : Error::not_supported;
        case Operation::trim:
            if (properties.read_only) return Error::not_permitted;
            if (!properties.can_trim) return Error::not_supported;
            break;
        case Operation::write_zeroes:
            if (properties.read_only) return Error::not_permitted;
            if (!properties.can_write_zeroes) return Error::not_supported;
            break;
        case Operation::extents:
            if (!properties.can_tell_extents) return Error::not_supported;
            if (request.length == 0 || request.extents.empty()) return Error::invalid;
            break;
        default: return Error::invalid;
    }
    const bool changes =
        request.operation != Operation::read && request.operation != Operation::extents;
    if (request.offset > size || request.length > size - request.offset)
        return changes ? Error::no_space : Error::invalid;
    if (request.offset % properties.minimum_block != 0 ||
        request.length % properties.minimum_block != 0)
        return Error::invalid;
    if (has_payload && request.length != request.buffer.size()) return Error::invalid;
    if (request.force_unit_access && changes && !properties.can_fua) return Error::not_supported;
    return Error::none;
}

}  // namespace wnbd::backend
