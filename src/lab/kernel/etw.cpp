// SPDX-License-Identifier: LGPL-2.1-or-later
// Tracing: nobody listens in the lab, but each provider must be registered, used while registered
// and unregistered.
#include <mutex>
#include <unordered_set>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

struct Providers {
    os::Mutex mutex;
    std::unordered_set<ULONGLONG> registered;
    ULONGLONG last = 0x1000;
};
Providers& providers() {
    static Providers* const instance = new Providers;
    return *instance;
}

NTSTATUS checked(ULONGLONG handle, const char* function) {
    const std::lock_guard guard(providers().mutex);
    if (providers().registered.contains(handle)) return STATUS_SUCCESS;
    if (handle != 0)
        violation("etw-handle", "%s with handle %llx, which is not registered", function, handle);
    return STATUS_INVALID_HANDLE;
}

}  // namespace

namespace wnbd::lab::kernel {

void check_etw_balance() {
    const std::lock_guard guard(providers().mutex);
    for (const ULONGLONG handle : providers().registered) {
        violation("etw-leak", "ETW registration %llx was not unregistered", handle);
    }
    providers().registered.clear();
}

}  // namespace wnbd::lab::kernel

extern "C" {

NTSTATUS NTAPI lab_EtwRegister(const GUID* provider, PVOID, PVOID, ULONGLONG* handle) {
    require_irql_at_most(PASSIVE_LEVEL, "EtwRegister");
    if (provider == nullptr || handle == nullptr) return STATUS_INVALID_PARAMETER;
    const std::lock_guard guard(providers().mutex);
    *handle = ++providers().last;
    providers().registered.insert(*handle);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_EtwUnregister(ULONGLONG handle) {
    require_irql_at_most(PASSIVE_LEVEL, "EtwUnregister");
    const NTSTATUS status = checked(handle, "EtwUnregister");
    const std::lock_guard guard(providers().mutex);
    providers().registered.erase(handle);
    return status;
}

NTSTATUS NTAPI lab_EtwWrite(ULONGLONG handle, const void*, const GUID*, ULONG, const void*) {
    return checked(handle, "EtwWrite");
}

NTSTATUS NTAPI lab_EtwWriteTransfer(ULONGLONG handle, const void*, const GUID*, const GUID*, ULONG,
                                    const void*) {
    return checked(handle, "EtwWriteTransfer");
}

NTSTATUS NTAPI lab_EtwSetInformation(ULONGLONG handle, ULONG, PVOID, ULONG) {
    return checked(handle, "EtwSetInformation");
}

BOOLEAN NTAPI lab_EtwEventEnabled(ULONGLONG handle, const void*) {
    checked(handle, "EtwEventEnabled");
    return FALSE;
}

BOOLEAN NTAPI lab_EtwProviderEnabled(ULONGLONG handle, UCHAR, ULONGLONG) {
    checked(handle, "EtwProviderEnabled");
    return FALSE;
}

}  // extern "C"
