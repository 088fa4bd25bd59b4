// SPDX-License-Identifier: LGPL-2.1-or-later
// What the lab's Storport asks of the program it runs in (Wine's kernel process, or the one-process
// host) beyond the kernel functions themselves, which it calls by their DDK names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "driver/ddk/kernel.h"

namespace wnbd::lab {

/// Table of the host's services; set once before StorPortInitialize is called, then read only.
struct Host {
    /// Called by each StorPortInitialize before anything else; may be null. PASSIVE_LEVEL.
    void (*prepare)();

    /// Raises the calling thread's (perhaps pretended) IRQL to DISPATCH_LEVEL; returns the old one.
    KIRQL (*raise_to_dispatch)();
    void (*lower_irql)(KIRQL old);
    KIRQL (*current_irql)();

    /// Runs `work(context, irp)`, which may block and which completes the IRP itself, now or later.
    /// A host with one dispatch thread marks the IRP pending, runs the work on a thread of its own
    /// and returns STATUS_PENDING; a host with real callers' threads runs it in place and returns
    /// what `work` returns. `alertable`: cancelling the IRP, or the death of its process, breaks
    /// alertable waits within `work` with STATUS_ALERTED.
    NTSTATUS (*run_blocking)(PIRP irp, bool alertable, NTSTATUS (*work)(void* context, PIRP irp),
                             void* context);

    /// Copies between kernel memory and the memory of the process whose IRP this thread works on
    /// (see run_blocking); false where the user's range is not accessible.
    bool (*copy_user)(void* user, void* kernel, std::size_t bytes, bool to_user);

    /// Null where the I/O manager sends IRP_MJ_CLEANUP by itself, and IRP_MJ_CLOSE after the last
    /// call on the file object. Elsewhere CLOSE comes when the handle is closed: Storport's
    /// stand-in then makes both of it, and this function waits for the calls in between, all on
    /// the file object of `close`.
    void (*await_calls)(PIRP close);

    /// True where PnP walks its list of devices without a lock, so that a device must not be
    /// removed while a scan takes its children away. A service IRP that took disks away is then
    /// completed only when PnP has removed their devices (departures.cpp).
    bool awaits_departures;
};

void set_host(const Host& host);
[[nodiscard]] const Host& host();

/// One broken rule: logged as "VERIFIER: <rule>: <detail>", counted, and handed to the sink if one
/// is set (which may end the process). Any thread, any IRQL. `rule` is a short name of lower-case
/// words.
void report_violation(const char* rule, const char* format, ...)
    __attribute__((format(printf, 2, 3)));
[[nodiscard]] std::uint64_t violation_count();
using ViolationSink = void (*)(const char* rule, const char* detail);
void set_violation_sink(ViolationSink sink);

/// Raises to DISPATCH_LEVEL for the life of the object.
class AtDispatch {
  public:
    AtDispatch() : old_(host().raise_to_dispatch()) {}
    ~AtDispatch() { host().lower_irql(old_); }
    AtDispatch(const AtDispatch&) = delete;
    AtDispatch& operator=(const AtDispatch&) = delete;

  private:
    KIRQL old_;
};

}  // namespace wnbd::lab
