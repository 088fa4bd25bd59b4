// SPDX-License-Identifier: LGPL-2.1-or-later
// What the library answers by itself, before an application sees it.
#pragma once

#include <cstdint>
#include <optional>

#include "libwnbd/abi.h"

namespace wnbd::libwnbd {

/// What a disk's server can take.
struct ServerLimits {
    WNBD_FLAGS flags{};
    std::uint32_t block_size = 0;       // bytes
    std::uint32_t unmap_count_max = 1;  // descriptors in one unmap
    std::uint32_t buffer_size = 0;      // bytes of the fetch buffer
    // Which requests there is a callback for.
    bool read = false;
    bool write = false;
    bool flush = false;
    bool unmap = false;
    bool persistent_reserve_in = false;
    bool persistent_reserve_out = false;
};

/// The documented meaning of WNBD_PROPERTIES.MaxUnmapDescCount: 0 is 1.
[[nodiscard]] constexpr std::uint32_t unmap_count_max(std::uint32_t from_properties) noexcept {
    return from_properties == 0 ? 1 : from_properties;
}

/// The refusal a request deserves: CHECK CONDITION, ILLEGAL REQUEST with
///   20h  no callback, unknown type, or an ability the disk did not announce
///   24h  anchored unmap without that ability; a transfer beyond the fetch buffer
///   26h  too many, or no, unmap descriptors
/// Nothing when the request may be served.
[[nodiscard]] std::optional<WNBD_STATUS> refusal_of(const WNBD_IO_REQUEST& request,
                                                    const ServerLimits& limits) noexcept;

}  // namespace wnbd::libwnbd
