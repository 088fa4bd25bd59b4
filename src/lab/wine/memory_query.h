// SPDX-License-Identifier: LGPL-2.1-or-later
// What another process's memory allows.
#pragma once

#include "lab/wine/native.h"

namespace wnbd::lab::wine {

/// NtQueryVirtualMemory of another process, which comes back. False when there is no answer.
[[nodiscard]] bool query_memory(HANDLE process, void* address, MemoryInformation& info);

}  // namespace wnbd::lab::wine
