// SPDX-License-Identifier: LGPL-2.1-or-later
// What compiled C++ asks of a run-time library, where the kernel does not export it.
#include "driver/ddk/nt.h"

/// The address of every pure virtual function that is never called.
extern "C" void __cxa_pure_virtual() {
    __builtin_trap();
}
