// SPDX-License-Identifier: LGPL-2.1-or-later
// Threads for IRPs that may block. Wine serves all IRPs of a kernel process from one thread, so
// nothing may wait there; the IRP is pended, its requestor noted, and the work done here.
#pragma once

#include <cstdint>

#include "driver/ddk/kernel.h"

namespace wnbd::lab::wine {

/// Host::run_blocking.
NTSTATUS run_blocking(PIRP irp, bool alertable, NTSTATUS (*work)(void* context, PIRP irp),
                      void* context);

/// Host::await_calls.
void await_calls(PIRP close);

/// The process on whose behalf this thread works: noted at dispatch for a worker, the caller's
/// otherwise.
HANDLE requestor_process_id();
/// The event that breaks this thread's alertable waits, or nullptr outside an alertable worker.
PKEVENT alert_event();
/// The requestor of an IRP that a worker has, or 0.
std::uint32_t requestor_of(PIRP irp);
/// Called before an IRP is completed: it can no longer be cancelled through us.
void forget_irp(PIRP irp);
/// IoCancelIrp for IRPs of which only the address is known, and that may be gone: touches none that
/// no worker has. False when there was nothing to cancel.
bool cancel_irp(PIRP irp);

}  // namespace wnbd::lab::wine
