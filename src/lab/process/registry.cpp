// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/registry.h"

#include <cstring>
#include <cwctype>
#include <map>
#include <mutex>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"
#include "lab/process/objects.h"

namespace wnbd::lab::process {
namespace {

using kernel::require_irql_at_most;
using kernel::violation;

struct Value {
    std::wstring name;  ///< as it was spelled when it was made
    std::uint32_t type;
    std::vector<std::uint8_t> data;
};
using Key = std::map<std::wstring, Value>;  // by lower-case name

struct Registry {
    os::Mutex mutex;
    std::map<std::wstring, Key> keys;  // by lower-case path
    std::map<std::uintptr_t, std::wstring> handles;
    std::uintptr_t last_handle = 0x1000;
};
Registry& registry() {
    static Registry* const instance = new Registry;
    return *instance;
}

std::wstring lower(std::wstring text) {
    for (wchar_t& character : text)
        character = static_cast<wchar_t>(std::towlower(character));
    return text;
}
std::wstring text_of(const UNICODE_STRING* string) {
    return string == nullptr || string->Buffer == nullptr
               ? std::wstring()
               : std::wstring(string->Buffer, string->Length / sizeof(WCHAR));
}

HANDLE open_locked(const std::wstring& path) {
    Registry& all = registry();
    all.last_handle += 4;
    all.handles.emplace(all.last_handle, lower(path));
    return reinterpret_cast<HANDLE>(all.last_handle);
}

Key* key_locked(HANDLE handle, const char* function) {
    const auto found = registry().handles.find(reinterpret_cast<std::uintptr_t>(handle));
    if (found == registry().handles.end()) {
        violation("bad-handle", "%s of %p, which is no open key", function, handle);
        return nullptr;
    }
    const auto key = registry().keys.find(found->second);
    return key == registry().keys.end() ? nullptr : &key->second;
}

NTSTATUS open_path(OBJECT_ATTRIBUTES* attributes, bool create, HANDLE* handle, ULONG* disposition) {
    const std::lock_guard guard(registry().mutex);
    std::wstring path = text_of(attributes->ObjectName);
    if (attributes->RootDirectory != nullptr) {
        const auto root =
            registry().handles.find(reinterpret_cast<std::uintptr_t>(attributes->RootDirectory));
        if (root == registry().handles.end()) return STATUS_INVALID_HANDLE;
        path = root->second + L"\\" + path;
    }
    if ((attributes->Attributes & OBJ_KERNEL_HANDLE) == 0) {
        violation("user-handle", "key \"%ls\" is opened without OBJ_KERNEL_HANDLE", path.c_str());
    }
    const bool existed = registry().keys.contains(lower(path));
    if (!existed && !create) return STATUS_OBJECT_NAME_NOT_FOUND;
    registry().keys[lower(path)];
    if (disposition != nullptr)
        *disposition = existed ? REG_OPENED_EXISTING_KEY : REG_CREATED_NEW_KEY;
    *handle = open_locked(path);
    return STATUS_SUCCESS;
}

/// Fills `buffer` with what fits and says how much there is.
NTSTATUS query(const Value& value, KEY_VALUE_INFORMATION_CLASS form, PVOID buffer, ULONG length,
               PULONG needed) {
    if (form != KeyValuePartialInformation) return STATUS_INVALID_PARAMETER;
    constexpr ULONG head = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data);
    *needed = head + static_cast<ULONG>(value.data.size());
    if (length < head) return STATUS_BUFFER_TOO_SMALL;
    auto* const information = static_cast<KEY_VALUE_PARTIAL_INFORMATION*>(buffer);
    information->TitleIndex = 0;
    information->Type = value.type;
    information->DataLength = static_cast<ULONG>(value.data.size());
    const ULONG room = length - head;
    std::memcpy(information->Data, value.data.data(),
                room < value.data.size() ? room : value.data.size());
    return room < value.data.size() ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

}  // namespace

void registry_set(const std::wstring& key, const std::wstring& name, std::uint32_t type,
                  const void* data, std::size_t bytes) {
    const auto* const first = static_cast<const std::uint8_t*>(data);
    const std::lock_guard guard(registry().mutex);
    registry().keys[lower(key)].insert_or_assign(
        lower(name), Value{name, type, std::vector<std::uint8_t>(first, first + bytes)});
}

bool registry_get(const std::wstring& key, const std::wstring& name, std::uint32_t& type,
                  std::vector<std::uint8_t>& data) {
    const std::lock_guard guard(registry().mutex);
    const auto found = registry().keys.find(lower(key));
    if (found == registry().keys.end()) return false;
    const auto value = found->second.find(lower(name));
    if (value == found->second.end()) return false;
    type = value->second.type;
    data = value->second.data;
    return true;
}

void registry_clear() {
    const std::lock_guard guard(registry().mutex);
    registry().keys.clear();
}

void check_registry_balance() {
    const std::lock_guard guard(registry().mutex);
    for (const auto& [handle, path] : registry().handles) {
        violation("handle-leak", "handle %p of key \"%ls\" was not closed",
                  reinterpret_cast<void*>(handle), path.c_str());
    }
    registry().handles.clear();
}

}  // namespace wnbd::lab::process

using namespace wnbd::lab;
using namespace wnbd::lab::process;

extern "C" {

// DRIVER_REGKEY_TYPE: 0 parameters, 1 persistent state (a key of its own, elsewhere, on Windows
// 10).
NTSTATUS NTAPI lab_IoOpenDriverRegistryKey(PDRIVER_OBJECT driver, int type, ACCESS_MASK,
                                           ULONG flags, PHANDLE handle) {
    require_irql_at_most(PASSIVE_LEVEL, "IoOpenDriverRegistryKey");
    if ((type != 0 && type != 1) || flags != 0) return STATUS_INVALID_PARAMETER;
    const std::wstring path =
        text_of(registry_path_of(driver)) + (type == 0 ? L"\\Parameters" : L"\\State");
    const std::lock_guard guard(registry().mutex);
    registry().keys[lower(path)];
    *handle = open_locked(path);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_ZwOpenKey(PHANDLE handle, ACCESS_MASK, POBJECT_ATTRIBUTES attributes) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwOpenKey");
    return open_path(attributes, false, handle, nullptr);
}

NTSTATUS NTAPI lab_ZwCreateKey(PHANDLE handle, ACCESS_MASK, POBJECT_ATTRIBUTES attributes, ULONG,
                               PUNICODE_STRING, ULONG, PULONG disposition) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwCreateKey");
    return open_path(attributes, true, handle, disposition);
}

NTSTATUS NTAPI lab_ZwClose(HANDLE handle) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwClose");
    const std::lock_guard guard(registry().mutex);
    if (registry().handles.erase(reinterpret_cast<std::uintptr_t>(handle)) != 0)
        return STATUS_SUCCESS;
    violation("bad-handle", "ZwClose of %p, which is no open handle", handle);
    return STATUS_INVALID_HANDLE;
}

NTSTATUS NTAPI lab_ZwQueryValueKey(HANDLE handle, PUNICODE_STRING name,
                                   KEY_VALUE_INFORMATION_CLASS form, PVOID buffer, ULONG length,
                                   PULONG needed) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwQueryValueKey");
    const std::lock_guard guard(registry().mutex);
    Key* const key = key_locked(handle, "ZwQueryValueKey");
    if (key == nullptr) return STATUS_INVALID_HANDLE;
    const auto value = key->find(lower(text_of(name)));
    return value == key->end() ? STATUS_OBJECT_NAME_NOT_FOUND
                               : query(value->second, form, buffer, length, needed);
}

NTSTATUS NTAPI lab_ZwEnumerateValueKey(HANDLE handle, ULONG index, KEY_VALUE_INFORMATION_CLASS form,
                                       PVOID buffer, ULONG length, PULONG needed) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwEnumerateValueKey");
    const std::lock_guard guard(registry().mutex);
    Key* const key = key_locked(handle, "ZwEnumerateValueKey");
    if (key == nullptr) return STATUS_INVALID_HANDLE;
    if (index >= key->size()) return STATUS_NO_MORE_ENTRIES;
    return query(std::next(key->begin(), index)->second, form, buffer, length, needed);
}

NTSTATUS NTAPI lab_ZwSetValueKey(HANDLE handle, PUNICODE_STRING name, ULONG, ULONG type, PVOID data,
                                 ULONG bytes) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwSetValueKey");
    const std::lock_guard guard(registry().mutex);
    Key* const key = key_locked(handle, "ZwSetValueKey");
    if (key == nullptr) return STATUS_INVALID_HANDLE;
    const auto* const first = static_cast<const std::uint8_t*>(data);
    const std::wstring spelled = text_of(name);
    key->insert_or_assign(lower(spelled),
                          Value{spelled, type, std::vector<std::uint8_t>(first, first + bytes)});
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI lab_ZwDeleteValueKey(HANDLE handle, PUNICODE_STRING name) {
    require_irql_at_most(PASSIVE_LEVEL, "ZwDeleteValueKey");
    const std::lock_guard guard(registry().mutex);
    Key* const key = key_locked(handle, "ZwDeleteValueKey");
    if (key == nullptr) return STATUS_INVALID_HANDLE;
    return key->erase(lower(text_of(name))) != 0 ? STATUS_SUCCESS : STATUS_OBJECT_NAME_NOT_FOUND;
}

}  // extern "C"
