// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes the process independent of the disk it was loaded from.
#pragma once

#include "client/locked_memory.h"

namespace wnbd::client {

/// Goes once through what the commands use, so that every library and every message text is loaded,
/// keeps the libraries loaded, and locks all memory of the process: code, data and stack. What is
/// allocated later comes without a disk, too, since it has no contents yet.
[[nodiscard]] Residence become_resident();

}  // namespace wnbd::client
