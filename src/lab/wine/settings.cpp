// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/wine/settings.h"

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "lab/storport/port.h"

namespace wnbd::lab::wine {
namespace {

constexpr wchar_t kKey[] =
    L"\\Registry\\Machine\\System\\CurrentControlSet\\Control\\Session Manager\\Environment";
constexpr std::uint32_t kMillisecondsMax = 3'600'000;

std::optional<std::uint32_t> setting(HANDLE key, const wchar_t* name) {
    UNICODE_STRING value;
    RtlInitUnicodeString(&value, name);
    alignas(8) UCHAR buffer[128];
    ULONG length = 0;
    if (!NT_SUCCESS(ZwQueryValueKey(key, &value, KeyValuePartialInformation, buffer, sizeof buffer,
                                    &length)))
        return std::nullopt;
    const auto& info = *reinterpret_cast<const KEY_VALUE_PARTIAL_INFORMATION*>(buffer);
    std::string digits;
    for (ULONG at = 0; at + 1 < info.DataLength && info.Data[at] != 0; at += sizeof(WCHAR))
        digits += static_cast<char>(info.Data[at]);
    char* end = nullptr;
    const unsigned long number = std::strtoul(digits.c_str(), &end, 10);
    if (info.Type == REG_SZ && !digits.empty() && *end == '\0' && number <= kMillisecondsMax)
        return static_cast<std::uint32_t>(number);
    DbgPrint("storport: a setting is no number of milliseconds: '%s'\n", digits.c_str());
    return std::nullopt;
}

}  // namespace

void read_settings() {
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, kKey);
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
                               nullptr, nullptr);
    HANDLE key = nullptr;
    if (!NT_SUCCESS(ZwOpenKey(&key, KEY_READ, &attributes))) return;
    PortOptions options = port_options();
    options.timeout_ms = setting(key, L"WNBD_LAB_TIMEOUT_MS").value_or(options.timeout_ms);
    options.grace_ms = setting(key, L"WNBD_LAB_GRACE_MS").value_or(options.grace_ms);
    set_port_options(options);
    ZwClose(key);
}

}  // namespace wnbd::lab::wine
