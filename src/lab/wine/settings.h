// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace wnbd::lab::wine {

/// Takes WNBD_LAB_TIMEOUT_MS and WNBD_LAB_GRACE_MS from the system's variables in the registry:
/// Wine's service processes got theirs before a test could say anything. To be called before
/// adapters start.
void read_settings();

}  // namespace wnbd::lab::wine
