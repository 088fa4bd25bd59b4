// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes the process independent of the disk it was loaded from.
#pragma once

#include <windows.h>

#include <cstdint>

namespace wnbd::client {

struct Residence {
    std::uint64_t locked_bytes = 0;
    /// What could not be locked, and why; with 0 bytes there is no reason.
    std::uint64_t unlocked_bytes = 0;
    DWORD code = ERROR_SUCCESS;
};

/// Goes once through what the commands use, so that every library and every message text is loaded,
/// keeps the libraries loaded, and locks all memory of the process: code, data and stack. What is
/// allocated later comes without a disk, too, since it has no contents yet.
[[nodiscard]] Residence become_resident();

}  // namespace wnbd::client
