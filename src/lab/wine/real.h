// SPDX-License-Identifier: LGPL-2.1-or-later
// Wine's own versions of kernel functions that the host puts something in front of. Valid once
// find_real_functions() has run.
#pragma once

#include "driver/ddk/kernel.h"

namespace wnbd::lab::wine {

/// False when Wine's kernel lacks one of them.
bool find_real_functions();

namespace real {

extern VOID(NTAPI* IoFreeMdl)(PMDL);
extern PIRP(NTAPI* IoBuildDeviceIoControlRequest)(ULONG, PDEVICE_OBJECT, PVOID, ULONG, PVOID, ULONG,
                                                  BOOLEAN, PKEVENT, PIO_STATUS_BLOCK);
extern VOID(NTAPI* IofCompleteRequest)(PIRP, CCHAR);
extern NTSTATUS(NTAPI* KeWaitForMultipleObjects)(ULONG, PVOID[], WAIT_TYPE, KWAIT_REASON,
                                                 KPROCESSOR_MODE, BOOLEAN, PLARGE_INTEGER,
                                                 PKWAIT_BLOCK);
extern NTSTATUS(NTAPI* KeWaitForSingleObject)(PVOID, KWAIT_REASON, KPROCESSOR_MODE, BOOLEAN,
                                              PLARGE_INTEGER);

}  // namespace real
}  // namespace wnbd::lab::wine
