// SPDX-License-Identifier: LGPL-2.1-or-later
// Wine's kernel is told to cancel the IRPs of a process that ended by their addresses, and cancels
// them without looking whether they are still there: one that a worker completes at that moment has
// been freed, and the kernel process crashes. So its IoCancelIrp, which its dispatcher calls, is
// made to jump to ours.
#include "lab/wine/cancel.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "lab/wine/native.h"
#include "lab/wine/worker.h"

namespace wnbd::lab::wine {
namespace {

constexpr ULONG kExecuteReadWrite = 0x40;  // PAGE_EXECUTE_READWRITE

BOOLEAN NTAPI cancel(PIRP irp) {
    return cancel_irp(irp) ? TRUE : FALSE;
}

/// jmp [rip+0], and the address.
std::array<std::uint8_t, 14> jump_to(std::uint64_t target) {
    std::array<std::uint8_t, 14> code{0xff, 0x25};
    std::memcpy(code.data() + 6, &target, sizeof target);
    return code;
}

}  // namespace

bool replace_cancelling() {
    PVOID const kernel = GetModuleHandleA("ntoskrnl.exe");
    PVOID const wines = kernel != nullptr ? GetProcAddress(kernel, "IoCancelIrp") : nullptr;
    if (wines == nullptr) return false;
    const auto jump = jump_to(reinterpret_cast<std::uintptr_t>(&cancel));
    ULONG old = 0;
    if (VirtualProtect(wines, jump.size(), kExecuteReadWrite, &old) == 0) return false;
    std::memcpy(wines, jump.data(), jump.size());
    VirtualProtect(wines, jump.size(), old, &old);
    return true;
}

}  // namespace wnbd::lab::wine
