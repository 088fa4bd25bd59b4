// SPDX-License-Identifier: LGPL-2.1-or-later
// Device interfaces and device properties.
#include <cstring>
#include <cwchar>
#include <map>
#include <mutex>

#include "lab/kernel/os.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/verifier.h"
#include "lab/process/pnp.h"

namespace wnbd::lab::process {
namespace {

using kernel::require_irql_at_most;
using kernel::violation;

struct Interface {
    GUID interface_class;
    PDEVICE_OBJECT pdo;
    bool enabled = false;
};

struct Interfaces {
    os::Mutex mutex;
    std::map<std::wstring, Interface> by_link;
};
Interfaces& interfaces() {
    static Interfaces* const instance = new Interfaces;
    return *instance;
}

std::wstring guid_text(const GUID& guid) {
    wchar_t text[40];
    std::swprintf(text, 40, L"{%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
                  static_cast<unsigned long>(guid.Data1), guid.Data2, guid.Data3, guid.Data4[0],
                  guid.Data4[1], guid.Data4[2], guid.Data4[3], guid.Data4[4], guid.Data4[5],
                  guid.Data4[6], guid.Data4[7]);
    return text;
}

NTSTATUS give_text(const std::wstring& text, ULONG length, PVOID buffer, PULONG needed) {
    *needed = static_cast<ULONG>((text.size() + 1) * sizeof(WCHAR));
    if (length < *needed) return STATUS_BUFFER_TOO_SMALL;
    std::memcpy(buffer, text.c_str(), *needed);
    return STATUS_SUCCESS;
}

}  // namespace

PDEVICE_OBJECT find_interface(const GUID& interface_class) {
    const std::lock_guard guard(interfaces().mutex);
    for (const auto& [link, entry] : interfaces().by_link) {
        if (entry.enabled &&
            std::memcmp(&entry.interface_class, &interface_class, sizeof(GUID)) == 0)
            return entry.pdo;
    }
    return nullptr;
}

void check_interface_balance() {
    const std::lock_guard guard(interfaces().mutex);
    for (auto& [link, entry] : interfaces().by_link) {
        if (entry.enabled)
            violation("interface-leak", "device interface \"%ls\" is still enabled", link.c_str());
    }
    interfaces().by_link.clear();
}

}  // namespace wnbd::lab::process

using namespace wnbd::lab;
using namespace wnbd::lab::process;

extern "C" {

NTSTATUS NTAPI lab_IoRegisterDeviceInterface(PDEVICE_OBJECT pdo, const GUID* interface_class,
                                             PUNICODE_STRING reference, PUNICODE_STRING link) {
    require_irql_at_most(PASSIVE_LEVEL, "IoRegisterDeviceInterface");
    std::wstring path = instance_path_of(pdo);
    if (path.empty()) {
        violation("not-a-pdo", "IoRegisterDeviceInterface of %p, which is no PDO",
                  static_cast<void*>(pdo));
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    for (wchar_t& character : path) {
        if (character == L'\\') character = L'#';
    }
    path = L"\\??\\" + path + L"#" + guid_text(*interface_class);
    if (reference != nullptr && reference->Length != 0) {
        path += L"\\" + std::wstring(reference->Buffer, reference->Length / sizeof(WCHAR));
    }
    const std::size_t bytes = (path.size() + 1) * sizeof(WCHAR);
    // The caller frees it with RtlFreeUnicodeString: it is the driver's from here on.
    const bool by_driver = kernel::is_driver(__builtin_return_address(0));
    if (by_driver && kernel::should_fail(kernel::FaultPoint::pool))
        return STATUS_INSUFFICIENT_RESOURCES;
    auto* const buffer = static_cast<PWSTR>(kernel::pool_allocate(bytes, 0x206F6944, by_driver));
    if (buffer == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    std::memcpy(buffer, path.c_str(), bytes);
    link->Buffer = buffer;
    link->Length = static_cast<USHORT>(bytes - sizeof(WCHAR));
    link->MaximumLength = static_cast<USHORT>(bytes);
    const std::lock_guard guard(interfaces().mutex);
    // A device that comes back under its path has the interface it had.
    interfaces().by_link.try_emplace(path, Interface{*interface_class, pdo}).first->second.pdo =
        pdo;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_IoSetDeviceInterfaceState(PUNICODE_STRING link, BOOLEAN enable) {
    require_irql_at_most(PASSIVE_LEVEL, "IoSetDeviceInterfaceState");
    const std::lock_guard guard(interfaces().mutex);
    const auto found =
        interfaces().by_link.find(std::wstring(link->Buffer, link->Length / sizeof(WCHAR)));
    if (found == interfaces().by_link.end()) return STATUS_OBJECT_NAME_NOT_FOUND;
    if (found->second.enabled == (enable != FALSE)) {
        return enable ? STATUS_OBJECT_NAME_EXISTS : STATUS_OBJECT_NAME_NOT_FOUND;
    }
    found->second.enabled = enable != FALSE;
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_IoGetDeviceProperty(PDEVICE_OBJECT pdo, DEVICE_REGISTRY_PROPERTY property,
                                       ULONG length, PVOID buffer, PULONG needed) {
    require_irql_at_most(PASSIVE_LEVEL, "IoGetDeviceProperty");
    const std::wstring path = instance_path_of(pdo);
    if (path.empty()) {
        violation("not-a-pdo", "IoGetDeviceProperty of %p, which is no PDO",
                  static_cast<void*>(pdo));
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    const std::size_t split = path.find(L'\\');
    switch (property) {
        case DevicePropertyHardwareID:
            return give_text(path.substr(0, path.rfind(L'\\')) + std::wstring(1, L'\0'), length,
                             buffer, needed);
        case DevicePropertyEnumeratorName:
            return give_text(path.substr(0, split), length, buffer, needed);
        default: return STATUS_OBJECT_NAME_NOT_FOUND;
    }
}

NTSTATUS NTAPI lab_IoGetDevicePropertyData(PDEVICE_OBJECT pdo, const DEVPROPKEY* key, LCID, ULONG,
                                           ULONG length, PVOID buffer, PULONG needed,
                                           PDEVPROPTYPE type) {
    require_irql_at_most(APC_LEVEL, "IoGetDevicePropertyData");
    // DEVPKEY_Device_InstanceId
    static const DEVPROPKEY instance_id = {
        {0x78c34fc8, 0x104a, 0x4aca, {0x9e, 0xa4, 0x52, 0x4d, 0x52, 0x99, 0x6e, 0x57}}, 256};
    const std::wstring path = instance_path_of(pdo);
    if (path.empty()) {
        violation("not-a-pdo", "IoGetDevicePropertyData of %p, which is no PDO",
                  static_cast<void*>(pdo));
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    if (std::memcmp(key, &instance_id, sizeof instance_id) != 0)
        return STATUS_OBJECT_NAME_NOT_FOUND;
    *type = 0x12;  // DEVPROP_TYPE_STRING
    return give_text(path, length, buffer, needed);
}

}  // extern "C"
