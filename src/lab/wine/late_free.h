// SPDX-License-Identifier: LGPL-2.1-or-later
// Freed kernel memory that stays readable for a while.
#pragma once

#include <windows.h>

namespace wnbd::lab::wine {

/// HeapFree for Wine's kernel, which looks at an IRP that it is to cancel without holding anything,
/// and so may read one that a worker of ours completes, and that is freed, at this moment. Small
/// blocks are therefore really freed only after some thousands of others. Such an IRP has no cancel
/// routine any more, and what is left of the call does nothing. Any thread.
BOOL WINAPI late_heap_free(HANDLE heap, DWORD flags, void* block);

}  // namespace wnbd::lab::wine
