// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include "base/per_thread.h"

namespace wnbd {

// On x64 and ARM64 a WINAPI function has the one calling convention there is.
ThreadSlot::ThreadSlot(Destroy destroy) noexcept : index_(FlsAlloc(destroy)) {}

ThreadSlot::~ThreadSlot() {
    if (index_ != FLS_OUT_OF_INDEXES) FlsFree(index_);
}

void* ThreadSlot::get() const noexcept {
    return index_ == FLS_OUT_OF_INDEXES ? nullptr : FlsGetValue(index_);
}

bool ThreadSlot::set(void* value) noexcept {
    return index_ != FLS_OUT_OF_INDEXES && FlsSetValue(index_, value) != FALSE;
}

}  // namespace wnbd
