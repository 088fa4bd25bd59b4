// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/registry_store.h"

#include <cstring>

#include "driver/log.h"

namespace wnbd::driver {

namespace {

UNICODE_STRING name_string(const WCHAR* name) noexcept {
    UNICODE_STRING string;
    RtlInitUnicodeString(&string, name);
    return string;
}

}  // namespace

void RegistryStore::open(PDRIVER_OBJECT driver) noexcept {
    status_ = IoOpenDriverRegistryKey(driver, DriverRegKeyPersistentState,
                                      GENERIC_READ | GENERIC_WRITE, 0, &key_);
    if (!NT_SUCCESS(status_)) key_ = nullptr;
}

void RegistryStore::close() noexcept {
    if (key_ != nullptr) (void)ZwClose(key_);
    key_ = nullptr;
    status_ = STATUS_DEVICE_NOT_READY;
}

Result<std::int64_t, nt::Status> RegistryStore::read(const WCHAR* name) noexcept {
    if (!NT_SUCCESS(status_)) return Failure{nt::Status{status_}};
    struct {
        KEY_VALUE_PARTIAL_INFORMATION head;
        UCHAR rest[sizeof(std::int64_t)];
    } value;
    UNICODE_STRING string = name_string(name);
    ULONG length = 0;
    const NTSTATUS status =
        ZwQueryValueKey(key_, &string, KeyValuePartialInformation, &value, sizeof value, &length);
    // Longer than any number: whatever it is, it is of another type.
    if (status == STATUS_BUFFER_OVERFLOW) return Failure{nt::object_type_mismatch};
    if (!NT_SUCCESS(status)) return Failure{nt::Status{status}};
    if (value.head.Type != REG_QWORD || value.head.DataLength != sizeof(std::int64_t))
        return Failure{nt::object_type_mismatch};
    std::int64_t number = 0;
    std::memcpy(&number, value.head.Data, sizeof number);
    return number;
}

nt::Status RegistryStore::write(const WCHAR* name, std::int64_t value) noexcept {
    if (!NT_SUCCESS(status_)) return status_;
    UNICODE_STRING string = name_string(name);
    return ZwSetValueKey(key_, &string, 0, REG_QWORD, &value, sizeof value);
}

nt::Status RegistryStore::erase(const WCHAR* name) noexcept {
    if (!NT_SUCCESS(status_)) return status_;
    UNICODE_STRING string = name_string(name);
    return ZwDeleteValueKey(key_, &string);
}

void RegistryStore::ignored(const char* name, nt::Status why) noexcept {
    // Said once, by who opened the key.
    if (NT_SUCCESS(status_))
        WNBD_LOG(warning, "the stored value of %s is ignored: 0x%lx", name,
                 static_cast<unsigned long>(why));
}

}  // namespace wnbd::driver
