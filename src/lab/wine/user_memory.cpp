// SPDX-License-Identifier: LGPL-2.1-or-later
// User memory of another process by bounce buffers: locking pages copies them in, unlocking pages
// that were locked for writing copies them back. Between the two the process's view does not
// change.
#include "lab/wine/user_memory.h"

#include <cstring>

#include "lab/storport/host.h"
#include "lab/wine/memory_query.h"
#include "lab/wine/native.h"
#include "lab/wine/real.h"
#include "lab/wine/worker.h"

namespace wnbd::lab::wine {
namespace {

constexpr ULONG kMagic = 0x4C444D42;
constexpr ULONG kTag = 0x6C646D57;
constexpr std::uintptr_t kUserEnd = 0x7FFFFFFF0000;
constexpr ULONG kCommitted = 0x1000;
constexpr ULONG kWritable = 0x04 | 0x08 | 0x40 | 0x80;  // the PAGE_ protections that allow writes
constexpr ULONG kProcessAllAccess = 0x1FFFFF;
constexpr std::uintptr_t kPage = 4096;

/// An MDL with what the bounce needs behind it; the miniport sees the MDL alone.
struct BounceMdl {
    MDL mdl;
    ULONG magic;
    std::uint8_t* address;
    ULONG length;
    HANDLE process;
    std::uint8_t* bounce;
    bool write_back;
};

HANDLE open_requestor() {
    OBJECT_ATTRIBUTES attributes;
    InitializeObjectAttributes(&attributes, nullptr, 0, nullptr, nullptr);
    CLIENT_ID id{requestor_process_id(), nullptr};
    HANDLE process = nullptr;
    return NT_SUCCESS(ZwOpenProcess(&process, kProcessAllAccess, &attributes, &id)) ? process
                                                                                    : nullptr;
}

bool in_user_space(const void* address, std::size_t length) {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    return at >= 0x10000 && at < kUserEnd && length <= kUserEnd - at;
}

bool is_writable(HANDLE process, std::uint8_t* address, std::size_t length) {
    std::uint8_t* const end = address + length;
    while (address < end) {
        MemoryInformation info{};
        if (!query_memory(process, address, info)) return false;
        if (info.state != kCommitted || (info.protect & kWritable) == 0) return false;
        address = static_cast<std::uint8_t*>(info.base) + info.region_size;
    }
    return true;
}

bool copy_in(HANDLE process, std::uint8_t* from, std::uint8_t* to, std::size_t length) {
    SIZE_T done = 0;
    return NT_SUCCESS(NtReadVirtualMemory(process, from, to, length, &done)) && done == length;
}

BounceMdl* ours(PMDL mdl) {
    if (mdl == nullptr || static_cast<ULONG>(mdl->Size) != sizeof(BounceMdl)) return nullptr;
    auto* const own = reinterpret_cast<BounceMdl*>(mdl);
    return own->magic == kMagic ? own : nullptr;
}

/// Everything but the raising of the exception, so that no object lives where it is raised.
bool lock_pages(BounceMdl& own, KPROCESSOR_MODE mode, LOCK_OPERATION operation) {
    if (mode == KernelMode) {
        own.mdl.MappedSystemVa = own.address;
        return true;
    }
    if (!in_user_space(own.address, own.length)) return false;
    own.process = open_requestor();
    if (own.process == nullptr) return false;
    own.bounce = static_cast<std::uint8_t*>(
        ExAllocatePoolWithTag(NonPagedPool, own.length != 0 ? own.length : 1, kTag));
    own.write_back = operation != IoReadAccess;
    const bool good = own.bounce != nullptr &&
                      copy_in(own.process, own.address, own.bounce, own.length) &&
                      (!own.write_back || is_writable(own.process, own.address, own.length));
    if (good) {
        own.mdl.MappedSystemVa = own.bounce;
        return true;
    }
    if (own.bounce != nullptr) ExFreePoolWithTag(own.bounce, kTag);
    ZwClose(own.process);
    own.bounce = nullptr;
    own.process = nullptr;
    return false;
}

}  // namespace

bool copy_user(void* user, void* kernel, std::size_t bytes, bool to_user) {
    if (!in_user_space(user, bytes)) return false;
    HANDLE const process = open_requestor();
    if (process == nullptr) return false;
    SIZE_T done = 0;
    const NTSTATUS status = to_user ? NtWriteVirtualMemory(process, user, kernel, bytes, &done)
                                    : NtReadVirtualMemory(process, user, kernel, bytes, &done);
    ZwClose(process);
    return NT_SUCCESS(status) && done == bytes;
}

}  // namespace wnbd::lab::wine

using namespace wnbd::lab;
using namespace wnbd::lab::wine;

extern "C" {

PMDL NTAPI IoAllocateMdl(PVOID address, ULONG length, BOOLEAN, BOOLEAN, PIRP) {
    auto* const own =
        static_cast<BounceMdl*>(ExAllocatePoolWithTag(NonPagedPool, sizeof(BounceMdl), kTag));
    if (own == nullptr) return nullptr;
    std::memset(own, 0, sizeof *own);
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    own->mdl.Size = sizeof *own;
    own->mdl.StartVa = reinterpret_cast<PVOID>(at & ~(kPage - 1));
    own->mdl.ByteOffset = static_cast<ULONG>(at & (kPage - 1));
    own->mdl.ByteCount = length;
    own->magic = kMagic;
    own->address = static_cast<std::uint8_t*>(address);
    own->length = length;
    return &own->mdl;
}

VOID NTAPI IoFreeMdl(PMDL mdl) {
    BounceMdl* const own = ours(mdl);
    if (own == nullptr) return real::IoFreeMdl(mdl);
    if ((own->mdl.MdlFlags & MDL_PAGES_LOCKED) != 0)
        report_violation("MDL freed while locked", "%p, %lu bytes", static_cast<void*>(mdl),
                         own->length);
    own->magic = 0;
    ExFreePoolWithTag(own, kTag);
}

VOID NTAPI MmProbeAndLockPages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation) {
    BounceMdl* const own = ours(mdl);
    if (own == nullptr || (own->mdl.MdlFlags & MDL_PAGES_LOCKED) != 0)
        report_violation("MDL misuse", "MmProbeAndLockPages of %p", static_cast<void*>(mdl));
    if (own == nullptr || !lock_pages(*own, mode, operation))
        RtlRaiseStatus(STATUS_ACCESS_VIOLATION);
    own->mdl.MdlFlags |= MDL_PAGES_LOCKED;
}

VOID NTAPI MmUnlockPages(PMDL mdl) {
    BounceMdl* const own = ours(mdl);
    if (own == nullptr || (own->mdl.MdlFlags & MDL_PAGES_LOCKED) == 0)
        return report_violation("MDL misuse", "MmUnlockPages of %p", static_cast<void*>(mdl));
    SIZE_T done = 0;
    // A process that ended or unmapped the range meanwhile just does not get the bytes, as on
    // Windows.
    if (own->write_back && own->bounce != nullptr)
        NtWriteVirtualMemory(own->process, own->address, own->bounce, own->length, &done);
    if (own->bounce != nullptr) {
        ExFreePoolWithTag(own->bounce, kTag);
        ZwClose(own->process);
    }
    own->bounce = nullptr;
    own->mdl.MappedSystemVa = nullptr;
    own->mdl.MdlFlags &= ~(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA);
}

PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL mdl, KPROCESSOR_MODE, MEMORY_CACHING_TYPE, PVOID,
                                         ULONG, MM_PAGE_PRIORITY) {
    BounceMdl* const own = ours(mdl);
    if (own == nullptr ||
        (own->mdl.MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL)) == 0) {
        report_violation("MDL misuse", "mapping of %p, which is not locked",
                         static_cast<void*>(mdl));
        return nullptr;
    }
    own->mdl.MdlFlags |= MDL_MAPPED_TO_SYSTEM_VA;
    return own->mdl.MappedSystemVa;
}

VOID NTAPI MmUnmapLockedPages(PVOID, PMDL mdl) {
    if (BounceMdl* const own = ours(mdl)) own->mdl.MdlFlags &= ~MDL_MAPPED_TO_SYSTEM_VA;
}

VOID NTAPI MmBuildMdlForNonPagedPool(PMDL mdl) {
    BounceMdl* const own = ours(mdl);
    if (own == nullptr) return;
    own->mdl.MappedSystemVa = own->address;
    own->mdl.MdlFlags |= MDL_SOURCE_IS_NONPAGED_POOL;
}

VOID NTAPI ProbeForRead(const VOID* address, SIZE_T length, ULONG alignment) {
    if (length == 0) return;
    if ((reinterpret_cast<std::uintptr_t>(address) & (alignment - 1)) != 0)
        RtlRaiseStatus(STATUS_DATATYPE_MISALIGNMENT);
    if (!in_user_space(address, length)) RtlRaiseStatus(STATUS_ACCESS_VIOLATION);
}

VOID NTAPI ProbeForWrite(PVOID address, SIZE_T length, ULONG alignment) {
    ProbeForRead(address, length, alignment);
}
}
