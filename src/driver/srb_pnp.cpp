// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstring>

#include "driver/srb_functions.h"

namespace wnbd::driver {

namespace {

constexpr USHORT capabilities_version = 1;
constexpr ULONG no_ui_number = 0xFFFFFFFF;

/// Surprise removal is not declared OK: only then does Windows ask before it removes a disk.
STOR_DEVICE_CAPABILITIES_EX capabilities_of(engine::Unit& unit, UCHAR target) noexcept {
    STOR_DEVICE_CAPABILITIES_EX capabilities{};
    capabilities.Version = capabilities_version;
    capabilities.Size = sizeof capabilities;
    capabilities.Bits = STOR_CAPABILITY_REMOVABLE | STOR_CAPABILITY_EJECT_SUPPORTED |
                        STOR_CAPABILITY_SILENT_INSTALL;
    if (unit.disk.description().flush_supported)
        capabilities.Bits |= STOR_CAPABILITY_EX_DEFAULT_WRITE_CACHE_ENABLED;
    capabilities.Address = target;
    capabilities.UINumber = no_ui_number;
    return capabilities;
}

}  // namespace

UCHAR answer_pnp(const engine::UnitReference& unit, SrbView view) noexcept {
    const SrbPnp pnp = view.pnp();
    if (!pnp.present || (pnp.flags & SRB_PNP_FLAGS_ADAPTER_REQUEST) != 0 ||
        pnp.action != StorQueryCapabilities)
        return SRB_STATUS_INVALID_REQUEST;
    if (!unit) return SRB_STATUS_NO_DEVICE;
    const std::span<std::uint8_t> buffer = view.data_buffer();
    if (buffer.size() < sizeof(STOR_DEVICE_CAPABILITIES_EX)) return SRB_STATUS_INVALID_REQUEST;
    const STOR_DEVICE_CAPABILITIES_EX capabilities = capabilities_of(*unit, view.address().target);
    std::memcpy(buffer.data(), &capabilities, sizeof capabilities);
    view.set_data_length(sizeof capabilities);
    return SRB_STATUS_SUCCESS;
}

}  // namespace wnbd::driver
