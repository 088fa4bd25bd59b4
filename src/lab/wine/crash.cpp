// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/wine/crash.h"

#include <windows.h>

// The kernel's headers and <windows.h> do not go together.
extern "C" ULONG __cdecl DbgPrint(const char* format, ...);

namespace wnbd::lab::wine {
namespace {

constexpr int kDepthMax = 32;

void print_place(DWORD64 address) {
    MEMORY_BASIC_INFORMATION where{};
    char path[MAX_PATH] = "no module";
    DWORD64 base = 0;
    if (VirtualQuery(reinterpret_cast<void*>(address), &where, sizeof where) != 0 &&
        where.AllocationBase != nullptr &&
        GetModuleFileNameA(static_cast<HMODULE>(where.AllocationBase), path, sizeof path) != 0)
        base = reinterpret_cast<DWORD64>(where.AllocationBase);
    DbgPrint("  at %s + 0x%llx\n", path, address - base);
}

LONG WINAPI on_crash(EXCEPTION_POINTERS* pointers) {
    CONTEXT context = *pointers->ContextRecord;
    const EXCEPTION_RECORD& record = *pointers->ExceptionRecord;
    DbgPrint("CRASH of the kernel process: exception %08lx, address %llx\n", record.ExceptionCode,
             static_cast<unsigned long long>(record.ExceptionInformation[1]));
    for (int depth = 0; depth < kDepthMax && context.Rip != 0; ++depth) {
        print_place(context.Rip);
        DWORD64 base = 0;
        PRUNTIME_FUNCTION const function = RtlLookupFunctionEntry(context.Rip, &base, nullptr);
        if (function == nullptr) {
            // A jump to where no code is: the return address is on top of the stack.
            const auto* const stack = reinterpret_cast<const DWORD64*>(context.Rsp);
            context.Rip = *stack;
            context.Rsp += sizeof *stack;
            continue;
        }
        PVOID data = nullptr;
        DWORD64 frame = 0;
        RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, context.Rip, function, &context, &data, &frame,
                         nullptr);
    }
    return EXCEPTION_CONTINUE_SEARCH;
}

}  // namespace

void tell_of_crashes() {
    SetUnhandledExceptionFilter(on_crash);
}

}  // namespace wnbd::lab::wine
