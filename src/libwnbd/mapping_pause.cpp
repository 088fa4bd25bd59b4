// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/mapping_pause.h"

#include <algorithm>

#include "libwnbd/device_control.h"

namespace wnbd::libwnbd {

namespace {

constexpr UINT32 pause_ms = 15'000;
constexpr UINT32 wait_max_ms = WNBD_MAX_OPTION_LEASE_MS - pause_ms;

DWORD lease_new_mappings(HANDLE adapter, bool allowed, UINT32 lease_ms) noexcept {
    WNBD_IOCTL_SET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DRV_OPT;
    std::ranges::copy(L"NewMappingsAllowed", command.Name);
    command.Value.Type = WnbdOptBool;
    command.Value.Data.AsBool = allowed ? TRUE : FALSE;
    WnbdSetOptionLease(&command, lease_ms);
    return send_command(adapter, command, nullptr);
}

}  // namespace

DWORD pause_new_mappings(HANDLE adapter, DWORD wait_ms) noexcept {
    return lease_new_mappings(adapter, false, pause_ms + std::min<UINT32>(wait_ms, wait_max_ms));
}

DWORD resume_new_mappings(HANDLE adapter) noexcept {
    return lease_new_mappings(adapter, true, pause_ms);
}

}  // namespace wnbd::libwnbd
