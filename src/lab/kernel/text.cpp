// SPDX-License-Identifier: LGPL-2.1-or-later
// Debug output, strings, clocks, and the C library functions of ntoskrnl.exe.
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <cwchar>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

std::atomic<DebugSink> debug_sink{nullptr};

ULONG print(const char* prefix, const char* format, va_list arguments) {
    const DebugSink sink = debug_sink.load(std::memory_order_relaxed);
    if (sink == nullptr) return STATUS_SUCCESS;
    char line[1024];
    int used = std::snprintf(line, sizeof line, "%s", prefix);
    if (used < 0 || static_cast<std::size_t>(used) >= sizeof line) used = 0;
    std::vsnprintf(line + used, sizeof line - static_cast<std::size_t>(used), format, arguments);
    sink(line);
    return STATUS_SUCCESS;
}

void count_copy(const void* caller, std::size_t bytes) {
    if (bytes < payload_size || !is_driver(caller)) return;
    counters().copies.fetch_add(1, std::memory_order_relaxed);
    counters().bytes_copied.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace

namespace wnbd::lab::kernel {
void set_debug_sink(DebugSink sink) noexcept {
    debug_sink.store(sink);
}
}  // namespace wnbd::lab::kernel

extern "C" {

EXCEPTION_DISPOSITION lab___C_specific_handler(struct _EXCEPTION_RECORD* record, void* frame,
                                               struct _CONTEXT* context,
                                               struct _DISPATCHER_CONTEXT* dispatcher) {
    return __C_specific_handler(record, frame, context, dispatcher);
}

ULONG lab_DbgPrint(PCSTR format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const ULONG status = print("", format, arguments);
    va_end(arguments);
    return status;
}

ULONG lab_DbgPrintEx(ULONG, ULONG, PCSTR format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const ULONG status = print("", format, arguments);
    va_end(arguments);
    return status;
}

ULONG NTAPI lab_vDbgPrintEx(ULONG, ULONG, PCCH format, va_list arguments) {
    return print("", format, arguments);
}

ULONG NTAPI lab_vDbgPrintExWithPrefix(PCCH prefix, ULONG, ULONG, PCCH format, va_list arguments) {
    return print(prefix, format, arguments);
}

VOID NTAPI lab_RtlInitUnicodeString(PUNICODE_STRING string, PCWSTR source) {
    const std::size_t bytes = source == nullptr ? 0 : std::wcslen(source) * sizeof(WCHAR);
    if (bytes > 0xFFFC) violation("string", "RtlInitUnicodeString of %zu bytes", bytes);
    string->Buffer = const_cast<PWSTR>(source);
    string->Length = static_cast<USHORT>(bytes);
    string->MaximumLength = static_cast<USHORT>(source == nullptr ? 0 : bytes + sizeof(WCHAR));
}

VOID NTAPI lab_RtlFreeUnicodeString(PUNICODE_STRING string) {
    require_irql_at_most(PASSIVE_LEVEL, "RtlFreeUnicodeString");
    if (string->Buffer != nullptr) pool_free(string->Buffer, 0);
    *string = UNICODE_STRING{};
}

VOID NTAPI lab_RtlCopyUnicodeString(PUNICODE_STRING target, PCUNICODE_STRING source) {
    const USHORT wanted = source == nullptr ? 0 : source->Length;
    target->Length = wanted < target->MaximumLength ? wanted : target->MaximumLength;
    if (target->Length != 0) std::memcpy(target->Buffer, source->Buffer, target->Length);
}

BOOLEAN NTAPI lab_RtlEqualUnicodeString(PCUNICODE_STRING left, PCUNICODE_STRING right,
                                        BOOLEAN ignore_case) {
    require_irql_at_most(ignore_case ? PASSIVE_LEVEL : DISPATCH_LEVEL, "RtlEqualUnicodeString");
    if (left->Length != right->Length) return FALSE;
    const std::size_t characters = left->Length / sizeof(WCHAR);
    if (ignore_case) return _wcsnicmp(left->Buffer, right->Buffer, characters) == 0;
    return std::wmemcmp(left->Buffer, right->Buffer, characters) == 0;
}

SIZE_T NTAPI lab_RtlCompareMemory(const void* left, const void* right, SIZE_T bytes) {
    SIZE_T equal = 0;
    while (equal < bytes &&
           static_cast<const char*>(left)[equal] == static_cast<const char*>(right)[equal])
        ++equal;
    return equal;
}

ULONGLONG NTAPI lab_KeQueryInterruptTime() {
    return os::now_100ns();
}

ULONGLONG NTAPI lab_KeQueryInterruptTimePrecise(PULONGLONG performance_counter) {
    const ULONGLONG now = os::now_100ns();
    if (performance_counter != nullptr) *performance_counter = now;
    return now;
}

LARGE_INTEGER NTAPI lab_KeQueryPerformanceCounter(PLARGE_INTEGER frequency) {
    if (frequency != nullptr) frequency->QuadPart = 10'000'000;
    LARGE_INTEGER now;
    now.QuadPart = static_cast<LONGLONG>(os::now_100ns());
    return now;
}

VOID NTAPI lab_KeQuerySystemTimePrecise(PLARGE_INTEGER time) {
    time->QuadPart = static_cast<LONGLONG>(os::system_time_100ns());
}

void* lab_memcpy(void* target, const void* source, std::size_t bytes) {
    count_copy(__builtin_return_address(0), bytes);
    return std::memcpy(target, source, bytes);
}
void* lab_memmove(void* target, const void* source, std::size_t bytes) {
    count_copy(__builtin_return_address(0), bytes);
    return std::memmove(target, source, bytes);
}
void* lab_memset(void* target, int value, std::size_t bytes) {
    return std::memset(target, value, bytes);
}
int lab_memcmp(const void* left, const void* right, std::size_t bytes) {
    return std::memcmp(left, right, bytes);
}
std::size_t lab_strlen(const char* text) {
    return std::strlen(text);
}
std::size_t lab_strnlen(const char* text, std::size_t most) {
    return strnlen(text, most);
}
int lab_strcmp(const char* left, const char* right) {
    return std::strcmp(left, right);
}
int lab_strncmp(const char* left, const char* right, std::size_t most) {
    return std::strncmp(left, right, most);
}
std::size_t lab_wcslen(const wchar_t* text) {
    return std::wcslen(text);
}
std::size_t lab_wcsnlen(const wchar_t* text, std::size_t most) {
    return wcsnlen(text, most);
}

int lab__vsnprintf(char* target, std::size_t size, const char* format, va_list arguments) {
    return _vsnprintf(target, size, format, arguments);
}
int lab__snprintf(char* target, std::size_t size, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int written = _vsnprintf(target, size, format, arguments);
    va_end(arguments);
    return written;
}
int lab__vsnwprintf(wchar_t* target, std::size_t size, const wchar_t* format, va_list arguments) {
    return _vsnwprintf(target, size, format, arguments);
}
int lab__snwprintf(wchar_t* target, std::size_t size, const wchar_t* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int written = _vsnwprintf(target, size, format, arguments);
    va_end(arguments);
    return written;
}

}  // extern "C"
