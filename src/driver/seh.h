// SPDX-License-Identifier: LGPL-2.1-or-later
// Structured exception handling, for the few kernel functions that report hostile user memory by
// raising an exception.
#pragma once

#include "driver/ddk/nt.h"

// libstdc++ gives these two names to its own macros, once any of its headers is included.
#include <bits/exception_defines.h>
#undef __try
#undef __catch

namespace wnbd::driver {

/// Runs `function`, and gives STATUS_SUCCESS or the code of the exception it raised. The compiler
/// guards calls only, never a load or store in the __try block itself: the access has to stand in a
/// function of its own, which the invocation here is not to be merged with. The code is read in the
/// filter, where every system has it.
template <typename Function>
[[gnu::noinline]] NTSTATUS guarded(Function&& function) noexcept {
    NTSTATUS status = STATUS_SUCCESS;
    __try {
        function();
    } __except ((status = static_cast<NTSTATUS>(_exception_code())), EXCEPTION_EXECUTE_HANDLER) {
    }
    return status;
}

}  // namespace wnbd::driver
