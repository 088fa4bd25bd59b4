// SPDX-License-Identifier: LGPL-2.1-or-later
// storport.sys for Wine's kernel process: an ordinary DLL, loaded because the miniport imports it.
#include "lab/disk/disk.h"
#include "lab/storport/host.h"
#include "lab/wine/cancel.h"
#include "lab/wine/crash.h"
#include "lab/wine/etw_log.h"
#include "lab/wine/native.h"
#include "lab/wine/patch.h"
#include "lab/wine/real.h"
#include "lab/wine/settings.h"
#include "lab/wine/user_memory.h"
#include "lab/wine/worker.h"

namespace wnbd::lab::wine {
namespace {

/// Wine has no IRQLs; this one is the lab's own and only remembers what the lab raised.
thread_local KIRQL pretended_irql = PASSIVE_LEVEL;

KIRQL raise_to_dispatch() {
    const KIRQL old = pretended_irql;
    pretended_irql = DISPATCH_LEVEL;
    return old;
}

void lower_irql(KIRQL old) {
    pretended_irql = old;
}

KIRQL current_irql() {
    return pretended_irql;
}

NTSTATUS NTAPI disk_entry(PDRIVER_OBJECT driver, PUNICODE_STRING) {
    start_disk_class(driver, false);
    return STATUS_SUCCESS;
}

/// The disk class needs a driver object of its own, which can be made only once the kernel runs;
/// and settings are read when there is a registry.
void prepare() {
    read_settings();
    static bool made = false;
    if (made) return;
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, L"\\Driver\\WnbdLabDisk");
    const NTSTATUS status = IoCreateDriver(&name, disk_entry);
    made = NT_SUCCESS(status);
    if (!made) DbgPrint("storport: no disk class: %lx\n", status);
}

}  // namespace
}  // namespace wnbd::lab::wine

extern "C" int __stdcall DllMain(void*, unsigned long reason, void*) {
    using namespace wnbd::lab;
    using namespace wnbd::lab::wine;
    constexpr unsigned long kAttach = 1;
    if (reason != kAttach) return 1;
    if (!find_real_functions() || !replace_cancelling()) return 0;
    set_host({prepare, raise_to_dispatch, lower_irql, current_irql, run_blocking, copy_user,
              await_calls, true});
    tell_of_crashes();
    start_event_log();
    patch_importers();
    return 1;
}
