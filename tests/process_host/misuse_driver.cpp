// SPDX-License-Identifier: LGPL-2.1-or-later
// A driver that does wrong on demand: what the verifier must see needs real driver code, compiled
// and linked as wnbd.sys is. The test calls StartIo with the number of the misuse where the device
// object should be.
#include <bits/exception_defines.h>

#include "driver/ddk/kernel.h"
#include "tests/process_host/misuse.h"
#undef __try
#undef __catch

namespace {

constexpr ULONG tag = 0x74736554;
constexpr auto nx = static_cast<POOL_TYPE>(512);

template <typename Function>
[[gnu::noinline]] NTSTATUS guarded(Function&& function) noexcept {
    NTSTATUS status = STATUS_SUCCESS;
    __try {
        function();
    } __except ((status = static_cast<NTSTATUS>(_exception_code())), EXCEPTION_EXECUTE_HANDLER) {
    }
    return status;
}

[[gnu::noinline]] void store(volatile char* address) {
    *address = 1;
}

/// What MmProbeAndLockPages says about user memory: the exception's code, or success.
NTSTATUS probe(void* address, ULONG bytes, LOCK_OPERATION operation) {
    PMDL const mdl = IoAllocateMdl(address, bytes, FALSE, FALSE, nullptr);
    if (mdl == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    const NTSTATUS status = guarded([&] { MmProbeAndLockPages(mdl, UserMode, operation); });
    if (NT_SUCCESS(status)) MmUnlockPages(mdl);
    IoFreeMdl(mdl);
    return status;
}

// Not inlined into a tail call: the verifier knows the driver by the return address.
[[gnu::noinline]] char* block() {
    return static_cast<char*>(ExAllocatePoolWithTag(nx, 100, tag));
}

char* volatile leaked;

void touch_after_free() {
    char* const memory = block();
    ExFreePoolWithTag(memory, tag);
    (void)guarded([memory] { store(memory + 50); });
}

void touch_next_page() {
    char* const memory = block();
    (void)guarded([memory] { store(memory + 112); });
    ExFreePoolWithTag(memory, tag);
}

void touch_slack() {
    char* const memory = block();
    store(memory + 101);
    ExFreePoolWithTag(memory, tag);
}

void touch_before() {
    char* const memory = block();
    store(memory - 3);
    ExFreePoolWithTag(memory, tag);
}

/// Far behind all that was ever allocated, but in the range the pool grows into.
void touch_wild() {
    char* const memory = block();
    (void)guarded([memory] { store(memory + (ULONG_PTR{1} << 30)); });
    ExFreePoolWithTag(memory, tag);
}

void free_inside() {
    char* const memory = block();
    ExFreePoolWithTag(memory + 16, tag);
    ExFreePoolWithTag(memory, tag);
}

void free_twice() {
    char* const memory = block();
    ExFreePoolWithTag(memory, tag);
    ExFreePoolWithTag(memory, tag);
}

void map_executable() {
    static char page[16];
    PMDL const mdl = IoAllocateMdl(page, sizeof page, FALSE, FALSE, nullptr);
    if (mdl == nullptr) return;
    MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);
    (void)MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, nullptr, FALSE,
                                       NormalPagePriority);
    MmUnlockPages(mdl);
    IoFreeMdl(mdl);
}

void wrong_level() {
    const KIRQL old = KfRaiseIrql(DISPATCH_LEVEL);  // writes CR8
    ExFreePoolWithTag(ExAllocatePoolWithTag(PagedPool, 8, tag), tag);
    KeLowerIrql(old);
}

void do_wrong(Misuse misuse, ProbeRequest* request) {
    switch (misuse) {
        case Misuse::probe:
            request->status = probe(request->address, request->bytes,
                                    request->write ? IoWriteAccess : IoReadAccess);
            break;
        case Misuse::touch_after_free: touch_after_free(); break;
        case Misuse::touch_next_page: touch_next_page(); break;
        case Misuse::touch_slack: touch_slack(); break;
        case Misuse::touch_before: touch_before(); break;
        case Misuse::touch_wild: touch_wild(); break;
        case Misuse::free_twice: free_twice(); break;
        case Misuse::free_inside: free_inside(); break;
        case Misuse::wrong_tag: ExFreePoolWithTag(block(), tag + 1); break;
        case Misuse::leak_pool: leaked = block(); break;
        case Misuse::executable_pool:
            ExFreePoolWithTag(ExAllocatePoolWithTag(NonPagedPool, 8, tag), tag);
            break;
        case Misuse::no_bytes: ExFreePoolWithTag(ExAllocatePoolWithTag(nx, 0, tag), tag); break;
        case Misuse::map_executable: map_executable(); break;
        case Misuse::paged_at_dispatch: wrong_level(); break;
        case Misuse::leave_raised: (void)KfRaiseIrql(DISPATCH_LEVEL); break;
        case Misuse::allocate_once: {
            char* const memory = block();
            request->status = memory == nullptr ? STATUS_INSUFFICIENT_RESOURCES : STATUS_SUCCESS;
            if (memory != nullptr) ExFreePoolWithTag(memory, tag);
            break;
        }
    }
}

VOID NTAPI start_io(PDEVICE_OBJECT number, PIRP argument) {
    do_wrong(static_cast<Misuse>(reinterpret_cast<ULONG_PTR>(number)),
             reinterpret_cast<ProbeRequest*>(argument));
}

VOID NTAPI unload(PDRIVER_OBJECT) {}

}  // namespace

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING) {
    driver->DriverStartIo = start_io;
    driver->DriverUnload = unload;
    return STATUS_SUCCESS;
}
