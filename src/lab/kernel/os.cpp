// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/kernel/os.h"

#include <windows.h>

#include <atomic>
#include <cstdio>
#include <cstring>

// Two loads whose faults the vectored handler turns into a result. Leaf functions: they need no
// unwind data.
asm(R"(
    .text
    .globl wnbd_lab_touch_read
    .globl wnbd_lab_touch_read_at
    .globl wnbd_lab_touch_write
    .globl wnbd_lab_touch_write_at
    .globl wnbd_lab_touch_fault
wnbd_lab_touch_read:
wnbd_lab_touch_read_at:
    movb (%rcx), %al
    xorl %eax, %eax
    ret
wnbd_lab_touch_write:
wnbd_lab_touch_write_at:
    lock orb $0, (%rcx)
    xorl %eax, %eax
    ret
wnbd_lab_touch_fault:
    movl $1, %eax
    ret
)");

extern "C" {
int wnbd_lab_touch_read(const volatile void* address);
int wnbd_lab_touch_write(volatile void* address);
extern const char wnbd_lab_touch_read_at[];
extern const char wnbd_lab_touch_write_at[];
extern const char wnbd_lab_touch_fault[];
}

namespace wnbd::lab::os {
namespace {

std::atomic<FaultHandler> fault_handler{nullptr};

void fill_registers(Fault& fault, CONTEXT& context) noexcept {
    // In the order of the instruction set's register numbers.
    DWORD64* const order[16] = {&context.Rax, &context.Rcx, &context.Rdx, &context.Rbx,
                                &context.Rsp, &context.Rbp, &context.Rsi, &context.Rdi,
                                &context.R8,  &context.R9,  &context.R10, &context.R11,
                                &context.R12, &context.R13, &context.R14, &context.R15};
    for (int index = 0; index < 16; ++index) {
        fault.registers[index] = reinterpret_cast<std::uint64_t*>(order[index]);
    }
    fault.rip = reinterpret_cast<std::uint64_t*>(&context.Rip);
}

LONG CALLBACK on_exception(EXCEPTION_POINTERS* pointers) {
    const EXCEPTION_RECORD& record = *pointers->ExceptionRecord;
    CONTEXT& context = *pointers->ContextRecord;
    const auto rip = static_cast<std::uintptr_t>(context.Rip);
    if (rip == reinterpret_cast<std::uintptr_t>(wnbd_lab_touch_read_at) ||
        rip == reinterpret_cast<std::uintptr_t>(wnbd_lab_touch_write_at)) {
        context.Rip = reinterpret_cast<std::uintptr_t>(wnbd_lab_touch_fault);
        return EXCEPTION_CONTINUE_EXECUTION;
    }
    const FaultHandler handler = fault_handler.load(std::memory_order_acquire);
    if (handler == nullptr) return EXCEPTION_CONTINUE_SEARCH;
    Fault fault{};
    fault.code = record.ExceptionCode;
    fault.instruction = reinterpret_cast<std::uintptr_t>(record.ExceptionAddress);
    if (record.ExceptionCode == EXCEPTION_ACCESS_VIOLATION && record.NumberParameters >= 2) {
        fault.write = record.ExceptionInformation[0] == 1;
        fault.address = record.ExceptionInformation[1];
    }
    fill_registers(fault, context);
    return handler(fault) ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH;
}

void install_handler() noexcept {
    static const bool installed = AddVectoredExceptionHandler(1, on_exception) != nullptr;
    (void)installed;
}

std::atomic<std::uintptr_t> crash_image{0};
std::atomic<std::size_t> crash_image_bytes{0};

/// The callers of the place that crashed, for addr2line.
void print_callers(CONTEXT context) noexcept {
    constexpr int depth_max = 24;
    for (int depth = 0; depth < depth_max && context.Rip != 0; ++depth) {
        char text[64];
        std::snprintf(text, sizeof text, "  at 0x%llx\n",
                      static_cast<unsigned long long>(context.Rip));
        print(text);
        DWORD64 base = 0;
        PRUNTIME_FUNCTION const function = RtlLookupFunctionEntry(context.Rip, &base, nullptr);
        if (function == nullptr) {
            // No code: a call through a bad pointer, whose return address is on top of the stack.
            auto* const stack = reinterpret_cast<const DWORD64*>(context.Rsp);
            context.Rip = *stack;
            context.Rsp += sizeof *stack;
            continue;
        }
        PVOID handler_data = nullptr;
        DWORD64 frame = 0;
        RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, context.Rip, function, &context, &handler_data,
                         &frame, nullptr);
    }
}

LONG WINAPI on_crash(EXCEPTION_POINTERS* pointers) {
    const EXCEPTION_RECORD& record = *pointers->ExceptionRecord;
    const auto at = reinterpret_cast<std::uintptr_t>(record.ExceptionAddress);
    const std::uintptr_t base = crash_image.load();
    char text[200];
    const int used = std::snprintf(text, sizeof text, "CRASH: exception %08lx at %p",
                                   record.ExceptionCode, record.ExceptionAddress);
    if (at >= base && at < base + crash_image_bytes.load()) {
        std::snprintf(text + used, sizeof text - static_cast<std::size_t>(used),
                      ", driver + 0x%llx, address %p\n", static_cast<unsigned long long>(at - base),
                      reinterpret_cast<void*>(record.ExceptionInformation[1]));
    } else {
        std::snprintf(text + used, sizeof text - static_cast<std::size_t>(used), "\n");
    }
    print(text);
    print_callers(*pointers->ContextRecord);
    exit_process(4);
}

DWORD slot_index() noexcept {
    static const DWORD index = TlsAlloc();
    return index;
}

struct ThreadStart {
    ThreadEntry entry;
    void* context;
};

DWORD WINAPI thread_main(void* argument) {
    const ThreadStart start = *static_cast<ThreadStart*>(argument);
    delete static_cast<ThreadStart*>(argument);
    start.entry(start.context);
    return 0;
}

}  // namespace

void Mutex::lock() noexcept {
    AcquireSRWLockExclusive(reinterpret_cast<SRWLOCK*>(&word_));
}
void Mutex::unlock() noexcept {
    ReleaseSRWLockExclusive(reinterpret_cast<SRWLOCK*>(&word_));
}

void* reserve(std::size_t bytes) noexcept {
    return VirtualAlloc(nullptr, bytes, MEM_RESERVE, PAGE_NOACCESS);
}
bool commit(void* address, std::size_t bytes) noexcept {
    return VirtualAlloc(address, bytes, MEM_COMMIT, PAGE_READWRITE) != nullptr;
}
void decommit(void* address, std::size_t bytes) noexcept {
    VirtualFree(address, bytes, MEM_DECOMMIT);
}

bool wait_on(volatile void* address, std::uint32_t expected, std::int64_t timeout_100ns) noexcept {
    DWORD milliseconds = INFINITE;
    if (timeout_100ns >= 0) {
        const std::int64_t rounded_up = (timeout_100ns + 9999) / 10000;
        milliseconds = rounded_up < 0x7fffffff ? static_cast<DWORD>(rounded_up) : 0x7fffffff;
    }
    return WaitOnAddress(address, &expected, sizeof expected, milliseconds) != FALSE;
}
void wake_all(volatile void* address) noexcept {
    WakeByAddressAll(const_cast<void*>(address));
}
void wake_one(volatile void* address) noexcept {
    WakeByAddressSingle(const_cast<void*>(address));
}

void relax() noexcept {
    YieldProcessor();
}
void yield() noexcept {
    SwitchToThread();
}
void sleep_ms(std::uint32_t milliseconds) noexcept {
    Sleep(milliseconds);
}

std::uint64_t now_100ns() noexcept {
    static const std::uint64_t frequency = [] {
        LARGE_INTEGER value;
        QueryPerformanceFrequency(&value);
        return static_cast<std::uint64_t>(value.QuadPart);
    }();
    LARGE_INTEGER counter;
    QueryPerformanceCounter(&counter);
    const auto ticks = static_cast<std::uint64_t>(counter.QuadPart);
    return ticks / frequency * 10'000'000 + ticks % frequency * 10'000'000 / frequency;
}

std::uint64_t system_time_100ns() noexcept {
    FILETIME now;
    GetSystemTimeAsFileTime(&now);
    return (static_cast<std::uint64_t>(now.dwHighDateTime) << 32) | now.dwLowDateTime;
}

std::uint32_t thread_id() noexcept {
    return GetCurrentThreadId();
}
std::uint32_t process_id() noexcept {
    return GetCurrentProcessId();
}

bool start_thread(ThreadEntry entry, void* context) noexcept {
    auto* const start = new ThreadStart{entry, context};
    const HANDLE thread = CreateThread(nullptr, 0, thread_main, start, 0, nullptr);
    if (thread == nullptr) {
        delete start;
        return false;
    }
    CloseHandle(thread);
    return true;
}

void* thread_slot() noexcept {
    return TlsGetValue(slot_index());
}
void set_thread_slot(void* value) noexcept {
    TlsSetValue(slot_index(), value);
}

std::uintptr_t first_fault(std::uintptr_t start, std::size_t bytes, bool write) noexcept {
    install_handler();
    if (bytes == 0) return 0;
    const std::uintptr_t last = start + bytes - 1;
    for (std::uintptr_t address = start;;) {
        auto* const byte = reinterpret_cast<volatile char*>(address);
        const int faulted = write ? wnbd_lab_touch_write(byte) : wnbd_lab_touch_read(byte);
        if (faulted != 0) return address == 0 ? 1 : address;
        const std::uintptr_t next = (address | (page_size - 1)) + 1;
        if (next == 0 || next > last) return 0;
        address = next;
    }
}

void raise(std::uint32_t status, std::uintptr_t address, bool write) {
    const ULONG_PTR arguments[2] = {write ? 1U : 0U, address};
    RaiseException(status, 0, 2, arguments);
    __builtin_unreachable();
}

void set_fault_handler(FaultHandler handler) noexcept {
    fault_handler.store(handler, std::memory_order_release);
    install_handler();
}

void set_crash_image(const void* base, std::size_t bytes) noexcept {
    crash_image_bytes.store(bytes);
    crash_image.store(reinterpret_cast<std::uintptr_t>(base));
    SetUnhandledExceptionFilter(on_crash);
}

void print(const char* text) noexcept {
    DWORD written = 0;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, static_cast<DWORD>(std::strlen(text)), &written,
              nullptr);
}

void exit_process(unsigned code) noexcept {
    TerminateProcess(GetCurrentProcess(), code);
    __builtin_unreachable();
}

}  // namespace wnbd::lab::os
