// SPDX-License-Identifier: LGPL-2.1-or-later
// The Wine host's user memory and tracing (src/lab/wine) in an ordinary process, which is its own
// requestor: bounce buffers go both ways, and each misuse of an MDL or of tracing is reported. The
// few kernel functions they need beside ntdll's are below.
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include "driver/ddk/etw.h"
#include "lab/storport/host.h"
#include "lab/wine/memory_query.h"
#include "lab/wine/real.h"
#include "lab/wine/worker.h"
#include "tests/process_host/check.h"

using namespace wnbd::lab;
using wnbd::test::claim;
using wnbd::test::fired;

extern "C" {
__declspec(dllimport) ULONG __stdcall GetCurrentProcessId();

PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE, SIZE_T bytes, ULONG) {
    return std::malloc(bytes);
}
VOID NTAPI ExFreePoolWithTag(PVOID block, ULONG) {
    std::free(block);
}
ULONG __cdecl DbgPrint(PCSTR, ...) {
    return 0;
}
}

namespace wnbd::lab::wine {
namespace real {
VOID(NTAPI* IoFreeMdl)(PMDL) = nullptr;
}
HANDLE requestor_process_id() {
    return reinterpret_cast<HANDLE>(static_cast<ULONG_PTR>(GetCurrentProcessId()));
}
bool query_memory(HANDLE process, void* address, MemoryInformation& info) {
    SIZE_T done = 0;
    return NT_SUCCESS(NtQueryVirtualMemory(process, address, 0, &info, sizeof info, &done));
}
}  // namespace wnbd::lab::wine

namespace {

std::multiset<std::string> rules;
char page[4096];
constexpr ULONG event_parts_max = 128;  // what Windows takes: MAX_EVENT_DATA_DESCRIPTORS

/// Does something wrong, and claims that exactly this rule was reported.
template <typename Wrong>
void expect(const char* what, const char* rule, Wrong&& wrong) {
    rules.clear();
    wrong();
    if (rule == nullptr) {
        claim(rules.empty(), "%s: %s was reported", what,
              rules.empty() ? "" : rules.begin()->c_str());
        return;
    }
    if (claim(rules.size() == 1 && rules.contains(rule), "%s: %s was not reported", what, rule))
        fired(rule);
}

PMDL make() {
    return IoAllocateMdl(page, sizeof page, FALSE, FALSE, nullptr);
}

PVOID map(PMDL mdl) {
    return MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, nullptr, FALSE,
                                        NormalPagePriority);
}

REGHANDLE register_provider() {
    static const GUID provider{};
    REGHANDLE handle = 0;
    EtwRegister(&provider, nullptr, nullptr, &handle);
    return handle;
}

void both_ways() {
    PMDL const mdl = make();
    std::strcpy(page, "from the program");
    MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
    auto* const bounce = static_cast<char*>(map(mdl));
    if (claim(bounce != nullptr && bounce != page, "locked pages are a copy")) {
        claim(std::strcmp(bounce, "from the program") == 0, "locking copies in");
        std::strcpy(bounce, "from the driver");
    }
    MmUnlockPages(mdl);
    claim(std::strcmp(page, "from the driver") == 0, "unlocking copies back");
    IoFreeMdl(mdl);
}

}  // namespace

int main() {
    set_violation_sink([](const char* rule, const char*) { rules.insert(rule); });
    expect("an MDL's proper life", nullptr, both_ways);
    expect("an MDL freed while locked", "MDL freed while locked", [] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
        IoFreeMdl(mdl);
    });
    expect("an MDL unlocked that is not locked", "MDL misuse", [] {
        PMDL const mdl = make();
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("an MDL mapped that is not locked", "MDL misuse", [] {
        PMDL const mdl = make();
        claim(map(mdl) == nullptr, "there is nothing to map");
        IoFreeMdl(mdl);
    });
    expect("an MDL locked twice", "MDL misuse", [] {
        PMDL const mdl = make();
        MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
        MmProbeAndLockPages(mdl, UserMode, IoReadAccess);
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
    });
    expect("a provider unregistered that never was", "etw handle", [] { EtwUnregister(0x7777); });
    expect("traits that are none", "etw traits", [] {
        REGHANDLE const handle = register_provider();
        char garbage[3] = {9, 9, 9};
        EtwSetInformation(handle, EventProviderSetTraits, garbage, sizeof garbage);
        EtwUnregister(handle);
    });
    expect("an event of too many parts", "etw event", [] {
        REGHANDLE const handle = register_provider();
        static EVENT_DATA_DESCRIPTOR data[event_parts_max + 1];
        const EVENT_DESCRIPTOR event{};
        EtwWrite(handle, &event, nullptr, event_parts_max + 1, data);
        EtwUnregister(handle);
    });
    return wnbd::test::report("wine_host_test");
}
