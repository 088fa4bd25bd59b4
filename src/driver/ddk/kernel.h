// SPDX-License-Identifier: LGPL-2.1-or-later
// <ntddk.h> made fit for C++20. Three collisions are steered around: clang's __cpuidex against
// mingw's, and two InterlockedBitTest* functions that mingw's wdm.h declares a second time as
// static inline.
#pragma once

#if defined(__clang__)
#define __cpuidex wnbd_unused_cpuidex
#include <cpuid.h>
#undef __cpuidex
#undef __cpuid
#undef __cpuid_count
#endif

extern "C" {
#include <intrin.h>
#define InterlockedBitTestAndSet wnbd_unused_bit_test_and_set
#define InterlockedBitTestAndReset wnbd_unused_bit_test_and_reset
#include <ntddk.h>
#undef InterlockedBitTestAndSet
#undef InterlockedBitTestAndReset
}
