// SPDX-License-Identifier: LGPL-2.1-or-later
// Taking disks away.
#pragma once

#include "wnbd.h"

namespace wnbd::libwnbd {

/// What a NULL PWNBD_REMOVE_OPTIONS means.
[[nodiscard]] WNBD_REMOVE_OPTIONS removal_options_or_default(
    const WNBD_REMOVE_OPTIONS* options) noexcept;

/// Removes the disk `name`. With a connection id other than 0 only that very connection: when the
/// name belongs to a younger disk, or to none, the answer is ERROR_FILE_NOT_FOUND and nothing is
/// removed. Blocking; errors as WnbdRemoveEx.
[[nodiscard]] DWORD remove_disk(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id,
                                const WNBD_REMOVE_OPTIONS& options);

}  // namespace wnbd::libwnbd
