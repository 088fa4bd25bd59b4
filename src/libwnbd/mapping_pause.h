// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver refuses new mappings while all disks are being removed or the adapter restarts. It is
// told so for a limited time, so that nothing is left behind by a process that ends in the middle.
#pragma once

#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

/// New mappings are refused for 15 s and `wait_ms` from now on (ten minutes at most), or until
/// the adapter starts again; a further call renews it. What NewMappingsAllowed was set to stays
/// underneath.
[[nodiscard]] DWORD pause_new_mappings(HANDLE adapter, DWORD wait_ms = 0) noexcept;

/// Ends a pause.
[[nodiscard]] DWORD resume_new_mappings(HANDLE adapter) noexcept;

}  // namespace wnbd::libwnbd
