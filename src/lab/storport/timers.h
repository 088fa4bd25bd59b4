// SPDX-License-Identifier: LGPL-2.1-or-later
// Timers and workers that a miniport asks of Storport.
#pragma once

#include "driver/ddk/storport.h"

namespace wnbd::lab {

/// StorPortNotification(RequestTimerCall): one timer per adapter; 0 microseconds cancel it.
void request_miniport_timer(void* extension, PHW_TIMER routine, ULONG microseconds);

/// The handles of StorPortInitializeTimer and StorPortInitializeWorker; unknown handles give
/// STOR_STATUS_INVALID_PARAMETER and are reported.
ULONG initialize_timer(void** handle);
ULONG request_timer(void* extension, void* handle, PHW_TIMER_EX routine, void* context,
                    ULONGLONG microseconds);
ULONG free_timer(void* handle);
ULONG initialize_worker(void** handle);
ULONG queue_worker(void* extension, PHW_WORKITEM routine, void* handle, void* context);
ULONG free_worker(void* handle);

}  // namespace wnbd::lab
