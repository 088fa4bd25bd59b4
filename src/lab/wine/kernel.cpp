// SPDX-License-Identifier: LGPL-2.1-or-later
// Kernel functions that Wine lacks or has as stubs, and those that must know of the workers.
// Defined under their own names: the lab's Storport links to them, and the miniport's imports are
// patched to them (see patch.cpp).
#include <chrono>
#include <cstring>
#include <string>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"
#include "lab/wine/native.h"
#include "lab/wine/real.h"
#include "lab/wine/worker.h"

namespace wnbd::lab::wine {

namespace real {

VOID(NTAPI* IoFreeMdl)(PMDL) = nullptr;
PIRP(NTAPI* IoBuildDeviceIoControlRequest)(ULONG, PDEVICE_OBJECT, PVOID, ULONG, PVOID, ULONG,
                                           BOOLEAN, PKEVENT, PIO_STATUS_BLOCK) = nullptr;
VOID(NTAPI* IofCompleteRequest)(PIRP, CCHAR) = nullptr;
NTSTATUS(NTAPI* KeWaitForMultipleObjects)(ULONG, PVOID[], WAIT_TYPE, KWAIT_REASON, KPROCESSOR_MODE,
                                          BOOLEAN, PLARGE_INTEGER, PKWAIT_BLOCK) = nullptr;
NTSTATUS(NTAPI* KeWaitForSingleObject)(PVOID, KWAIT_REASON, KPROCESSOR_MODE, BOOLEAN,
                                       PLARGE_INTEGER) = nullptr;

}  // namespace real

namespace {

template <typename T>
bool find(PVOID module, const char* name, T& function) {
    function = reinterpret_cast<T>(GetProcAddress(module, name));
    return function != nullptr;
}

constexpr NTSTATUS kNotFound = STATUS_OBJECT_NAME_NOT_FOUND;

}  // namespace

bool find_real_functions() {
    PVOID const kernel = GetModuleHandleA("ntoskrnl.exe");
    return kernel != nullptr && find(kernel, "IoFreeMdl", real::IoFreeMdl) &&
           find(kernel, "IoBuildDeviceIoControlRequest", real::IoBuildDeviceIoControlRequest) &&
           find(kernel, "IofCompleteRequest", real::IofCompleteRequest) &&
           find(kernel, "KeWaitForMultipleObjects", real::KeWaitForMultipleObjects) &&
           find(kernel, "KeWaitForSingleObject", real::KeWaitForSingleObject);
}

}  // namespace wnbd::lab::wine

using namespace wnbd::lab;
using namespace wnbd::lab::wine;

extern "C" {

VOID NTAPI IofCompleteRequest(PIRP irp, CCHAR boost) {
    forget_irp(irp);
    real::IofCompleteRequest(irp, boost);
}

// Wine's puts the caller's input buffer where the system buffer belongs, also when there is none.
PIRP NTAPI IoBuildDeviceIoControlRequest(ULONG code, PDEVICE_OBJECT device, PVOID input,
                                         ULONG input_length, PVOID output, ULONG output_length,
                                         BOOLEAN internal, PKEVENT event, PIO_STATUS_BLOCK status) {
    PIRP const irp = real::IoBuildDeviceIoControlRequest(code, device, input, input_length, output,
                                                         output_length, internal, event, status);
    const bool is_buffered = (code & 3) == METHOD_BUFFERED;
    if (irp != nullptr && is_buffered && input == nullptr) irp->AssociatedIrp.SystemBuffer = output;
    return irp;
}

ULONG NTAPI IoGetRequestorProcessId(PIRP irp) {
    if (const std::uint32_t id = requestor_of(irp)) return id;
    return static_cast<ULONG>(reinterpret_cast<std::uintptr_t>(requestor_process_id()));
}

NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG count, PVOID objects[], WAIT_TYPE type,
                                        KWAIT_REASON reason, KPROCESSOR_MODE mode,
                                        BOOLEAN alertable, PLARGE_INTEGER timeout,
                                        PKWAIT_BLOCK blocks) {
    PKEVENT const alert = alertable ? alert_event() : nullptr;
    if (alert == nullptr || type != WaitAny || count >= MAXIMUM_WAIT_OBJECTS)
        return real::KeWaitForMultipleObjects(count, objects, type, reason, mode, FALSE, timeout,
                                              blocks);
    PVOID all[MAXIMUM_WAIT_OBJECTS];
    std::memcpy(all, objects, count * sizeof *all);
    all[count] = alert;
    KWAIT_BLOCK own_blocks[MAXIMUM_WAIT_OBJECTS];
    const NTSTATUS status = real::KeWaitForMultipleObjects(count + 1, all, WaitAny, reason, mode,
                                                           FALSE, timeout, own_blocks);
    return status == static_cast<NTSTATUS>(STATUS_WAIT_0 + count) ? STATUS_ALERTED : status;
}

NTSTATUS NTAPI KeWaitForSingleObject(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode,
                                     BOOLEAN alertable, PLARGE_INTEGER timeout) {
    if (alertable && alert_event() != nullptr)
        return KeWaitForMultipleObjects(1, &object, WaitAny, reason, mode, TRUE, timeout, nullptr);
    return real::KeWaitForSingleObject(object, reason, mode, FALSE, timeout);
}

ULONG64 NTAPI KeQueryInterruptTimePrecise(PULONG64 counter) {
    using Ticks = std::chrono::duration<ULONG64, std::ratio<1, 10'000'000>>;
    const auto now =
        std::chrono::duration_cast<Ticks>(std::chrono::steady_clock::now().time_since_epoch());
    if (counter != nullptr) *counter = now.count();
    return now.count();
}

NTSTATUS NTAPI IoOpenDriverRegistryKey(PDRIVER_OBJECT driver, ULONG type, ACCESS_MASK access,
                                       ULONG flags, PHANDLE handle) {
    // 0: DriverRegKeyParameters, 1: DriverRegKeyPersistentState.
    if (type > 1 || flags != 0) return STATUS_INVALID_PARAMETER;
    const std::u16string_view name(reinterpret_cast<const char16_t*>(driver->DriverName.Buffer),
                                   driver->DriverName.Length / sizeof(WCHAR));
    const std::size_t slash = name.rfind(u'\\');
    if (slash == std::u16string_view::npos) return kNotFound;
    const std::u16string path = u"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\" +
                                std::u16string(name.substr(slash + 1)) +
                                (type == 0 ? u"\\Parameters" : u"\\State");
    UNICODE_STRING key;
    RtlInitUnicodeString(&key, reinterpret_cast<PCWSTR>(path.c_str()));
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &key, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, nullptr,
                               nullptr);
    ULONG disposition = 0;
    return ZwCreateKey(handle, access, &attributes, 0, nullptr, 0, &disposition);
}

/// DEVPKEY_Device_InstanceId of the lab's units, which is all that Wine's own functions cannot
/// tell.
NTSTATUS NTAPI IoGetDevicePropertyData(PDEVICE_OBJECT device, const DEVPROPKEY* key, LCID, ULONG,
                                       ULONG size, PVOID data, PULONG required, ULONG* type) {
    static const GUID device_keys = {
        0x78C34FC8, 0x104A, 0x4ACA, {0x9E, 0xA4, 0x52, 0x4D, 0x52, 0x99, 0x6E, 0x57}};
    constexpr ULONG kInstanceId = 256;
    constexpr ULONG kTypeString = 18;
    if (std::memcmp(&key->fmtid, &device_keys, sizeof device_keys) != 0 || key->pid != kInstanceId)
        return kNotFound;
    const std::optional<UnitIdentity> unit = identity_of(device);
    if (!unit) return kNotFound;
    const std::u16string path = unit->path();
    const auto bytes = static_cast<ULONG>((path.size() + 1) * sizeof(char16_t));
    if (required != nullptr) *required = bytes;
    if (type != nullptr) *type = kTypeString;
    if (size < bytes) return STATUS_BUFFER_TOO_SMALL;
    std::memcpy(data, path.c_str(), bytes);
    return STATUS_SUCCESS;
}
}
