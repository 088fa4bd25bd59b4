// SPDX-License-Identifier: LGPL-2.1-or-later
// Tracing for the one-process host: the lab's providers and sessions, with the rules in front. Each
// provider is registered, used while it is registered, and unregistered; events are well-formed.
#include "driver/ddk/kernel.h"
#include "lab/etw/tracing.h"
#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

NTSTATUS checked(REGHANDLE handle, const char* function) {
    if (etw::is_registered(handle)) return STATUS_SUCCESS;
    if (handle != 0)
        violation("etw-handle", "%s with handle %llx, which is not registered", function, handle);
    return STATUS_INVALID_HANDLE;
}

NTSTATUS write(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor, ULONG count,
               PEVENT_DATA_DESCRIPTOR data, const char* function) {
    const NTSTATUS status = checked(handle, function);
    if (!NT_SUCCESS(status)) return status;
    const std::string fault = etw::write(handle, *descriptor, count, data);
    if (!fault.empty()) violation("etw-event", "%s: %s", function, fault.c_str());
    return fault.empty() ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

}  // namespace

namespace wnbd::lab::kernel {

void check_etw_balance() {
    for (const REGHANDLE handle : etw::registrations()) {
        violation("etw-leak", "ETW registration %llx was not unregistered", handle);
        etw::unregister_provider(handle);
    }
}

}  // namespace wnbd::lab::kernel

extern "C" {

NTSTATUS NTAPI lab_EtwRegister(LPCGUID provider, PETWENABLECALLBACK, PVOID, PREGHANDLE handle) {
    require_irql_at_most(PASSIVE_LEVEL, "EtwRegister");
    if (provider == nullptr || handle == nullptr) return STATUS_INVALID_PARAMETER;
    *handle = etw::register_provider(*provider);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_EtwUnregister(REGHANDLE handle) {
    require_irql_at_most(PASSIVE_LEVEL, "EtwUnregister");
    const NTSTATUS status = checked(handle, "EtwUnregister");
    etw::unregister_provider(handle);
    return status;
}

NTSTATUS NTAPI lab_EtwWrite(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor, LPCGUID, ULONG count,
                            PEVENT_DATA_DESCRIPTOR data) {
    return write(handle, descriptor, count, data, "EtwWrite");
}

NTSTATUS NTAPI lab_EtwWriteTransfer(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor, LPCGUID,
                                    LPCGUID, ULONG count, PEVENT_DATA_DESCRIPTOR data) {
    return write(handle, descriptor, count, data, "EtwWriteTransfer");
}

NTSTATUS NTAPI lab_EtwSetInformation(REGHANDLE handle, EVENT_INFO_CLASS information, PVOID data,
                                     ULONG bytes) {
    require_irql_at_most(PASSIVE_LEVEL, "EtwSetInformation");
    const NTSTATUS status = checked(handle, "EtwSetInformation");
    if (!NT_SUCCESS(status)) return status;
    if (information != EventProviderSetTraits) return STATUS_INVALID_INFO_CLASS;
    if (etw::set_traits(handle, data, bytes)) return STATUS_SUCCESS;
    violation("etw-traits", "EtwSetInformation: %lu bytes that are no traits", bytes);
    return STATUS_INVALID_PARAMETER;
}

BOOLEAN NTAPI lab_EtwEventEnabled(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor) {
    checked(handle, "EtwEventEnabled");
    return etw::is_enabled(handle, descriptor->Level, descriptor->Keyword) ? TRUE : FALSE;
}

BOOLEAN NTAPI lab_EtwProviderEnabled(REGHANDLE handle, UCHAR level, ULONGLONG keyword) {
    checked(handle, "EtwProviderEnabled");
    return etw::is_enabled(handle, level, keyword) ? TRUE : FALSE;
}

}  // extern "C"
