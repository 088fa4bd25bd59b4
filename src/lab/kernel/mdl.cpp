// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory descriptor lists: allocate, lock, map, unlock, free, with every step out of order
// reported.
#include <cstddef>
#include <deque>
#include <mutex>
#include <unordered_set>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/user_memory.h"
#include "lab/kernel/verifier.h"

using namespace wnbd::lab;
using namespace wnbd::lab::kernel;

namespace {

enum class MdlState : std::uint8_t { freed, empty, locked, nonpaged };

struct TrackedMdl {
    MDL mdl;  // first: the driver's pointer is ours
    MdlState state = MdlState::freed;
    bool owner_is_driver = false;
    bool for_write = false;
    bool user_pages = false;
    UserMemory::Locked locked;
};
static_assert(offsetof(TrackedMdl, mdl) == 0);

struct Registry {
    os::Mutex mutex;
    std::unordered_set<const void*> known;  // every one ever made: none is given back to the heap
    std::deque<TrackedMdl*>
        freed;  // oldest first, so that a stale pointer meets a freed one for long
    std::uint64_t live_of_driver = 0;
};
Registry& registry() {
    static Registry* const instance = new Registry;
    return *instance;
}
constexpr std::size_t quarantine_mdls = 256;

TrackedMdl* checked(PMDL mdl, const char* function) {
    const std::lock_guard guard(registry().mutex);
    if (!registry().known.contains(mdl)) {
        fatal_violation("bad-mdl", "%s of %p, which IoAllocateMdl did not make", function,
                        static_cast<void*>(mdl));
    }
    auto* const tracked = reinterpret_cast<TrackedMdl*>(mdl);
    if (tracked->state == MdlState::freed) {
        fatal_violation("mdl-use-after-free", "%s of %p, which was freed", function,
                        static_cast<void*>(mdl));
    }
    return tracked;
}

std::uintptr_t start_of(const MDL& mdl) {
    return reinterpret_cast<std::uintptr_t>(mdl.StartVa) + mdl.ByteOffset;
}

class PlainUserMemory final : public UserMemory {
  public:
    bool lock(std::uintptr_t address, std::size_t bytes, bool write, Locked& locked,
              std::uintptr_t& bad_address) override {
        bad_address = os::first_fault(address, bytes, write);
        if (bad_address != 0) return false;
        locked.system_address = reinterpret_cast<void*>(address);
        return true;
    }
    void unlock(std::uintptr_t, std::size_t, bool, Locked&) override {}
    std::uintptr_t first_unwritable(std::uintptr_t address, std::size_t bytes) override {
        return os::first_fault(address, bytes, true);
    }
};

PlainUserMemory plain_memory;
std::atomic<UserMemory*> current_memory{&plain_memory};

[[noreturn]] void raise_access_violation(std::uintptr_t address, bool write) {
    // The flag tells the fault reporter that this is an answer to a bad user pointer, not a bug at
    // that address.
    ThreadState& thread = this_thread();
    thread.raising = true;
    os::raise(static_cast<std::uint32_t>(STATUS_ACCESS_VIOLATION), address, write);
}

void lock_pages(TrackedMdl& tracked, KPROCESSOR_MODE mode, bool write) {
    const std::uintptr_t start = start_of(tracked.mdl);
    const std::size_t bytes = tracked.mdl.ByteCount;
    std::uintptr_t bad = start;
    const bool user = mode == UserMode || !is_pool_address(start);
    bool good = mode == KernelMode || is_user_range(start, bytes);
    if (good && tracked.owner_is_driver && should_fail(FaultPoint::lock)) good = false;
    if (good) good = user_memory().lock(start, bytes, write, tracked.locked, bad);
    if (!good) raise_access_violation(bad, write);
    tracked.user_pages = user;
    tracked.for_write = write;
    tracked.state = MdlState::locked;
    tracked.mdl.MdlFlags = static_cast<CSHORT>(tracked.mdl.MdlFlags | MDL_PAGES_LOCKED |
                                               (write ? MDL_WRITE_OPERATION : 0));
}

PVOID map_pages(PMDL mdl, KPROCESSOR_MODE mode, ULONG priority, const void* caller,
                const char* function) {
    require_irql_at_most(DISPATCH_LEVEL, function);
    TrackedMdl& tracked = *checked(mdl, function);
    constexpr ULONG no_execute = 0x40000000;  // MdlMappingNoExecute
    if (is_driver(caller)) {
        counters().calls.fetch_add(1, std::memory_order_relaxed);
        counters().mappings.fetch_add(1, std::memory_order_relaxed);
        if ((priority & no_execute) == 0) {
            violation("executable-mapping", "%s of %p without MdlMappingNoExecute", function,
                      static_cast<void*>(mdl));
        }
    }
    if (mode != KernelMode)
        violation("mdl-map", "%s of %p into user space", function, static_cast<void*>(mdl));
    if (tracked.state != MdlState::locked) {
        violation("mdl-map", "%s of %p, whose pages are not locked", function,
                  static_cast<void*>(mdl));
        return nullptr;
    }
    if (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) {
        violation("mdl-map", "%s of %p, which is mapped already", function,
                  static_cast<void*>(mdl));
        return mdl->MappedSystemVa;
    }
    if (tracked.owner_is_driver && should_fail(FaultPoint::mapping)) return nullptr;
    mdl->MappedSystemVa = tracked.locked.system_address;
    mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags | MDL_MAPPED_TO_SYSTEM_VA);
    return mdl->MappedSystemVa;
}

}  // namespace

namespace wnbd::lab::kernel {

UserMemory& user_memory() noexcept {
    return *current_memory.load(std::memory_order_acquire);
}
void set_user_memory(UserMemory& implementation) noexcept {
    current_memory.store(&implementation, std::memory_order_release);
}

bool is_user_range(std::uintptr_t address, std::size_t bytes) noexcept {
    if (address + bytes < address || address + bytes > user_address_end) return false;
    return !is_pool_address(address) && !is_pool_address(address + bytes);
}

void check_mdl_balance() {
    const std::lock_guard guard(registry().mutex);
    for (const void* const pointer : registry().known) {
        auto* const tracked = static_cast<TrackedMdl*>(const_cast<void*>(pointer));
        if (tracked->state == MdlState::freed || !tracked->owner_is_driver) continue;
        violation("mdl-leak", "MDL %p of %lu bytes was not freed%s", pointer,
                  static_cast<unsigned long>(tracked->mdl.ByteCount),
                  tracked->state == MdlState::locked ? ", its pages are still locked" : "");
        tracked->owner_is_driver = false;  // reported once
    }
    registry().live_of_driver = 0;
}

std::uint64_t mdl_count() noexcept {
    const std::lock_guard guard(registry().mutex);
    return registry().live_of_driver;
}

}  // namespace wnbd::lab::kernel

extern "C" {

PMDL NTAPI lab_IoAllocateMdl(PVOID address, ULONG bytes, BOOLEAN secondary, BOOLEAN, PIRP irp) {
    require_irql_at_most(DISPATCH_LEVEL, "IoAllocateMdl");
    const bool by_driver = is_driver(__builtin_return_address(0));
    if (by_driver) {
        counters().calls.fetch_add(1, std::memory_order_relaxed);
        counters().mdl_allocations.fetch_add(1, std::memory_order_relaxed);
        if (should_fail(FaultPoint::mdl)) return nullptr;
    }
    TrackedMdl* tracked = nullptr;
    {
        Registry& all = registry();
        const std::lock_guard guard(all.mutex);
        if (all.freed.size() >= quarantine_mdls) {
            tracked = all.freed.front();
            all.freed.pop_front();
            *tracked = TrackedMdl{};
        } else {
            tracked = new TrackedMdl{};
            all.known.insert(tracked);
        }
        tracked->state = MdlState::empty;
        tracked->owner_is_driver = by_driver;
        if (by_driver) ++all.live_of_driver;
    }
    MDL& mdl = tracked->mdl;
    const auto start = reinterpret_cast<ULONG_PTR>(address);
    const ULONG_PTR pages = ((start & (PAGE_SIZE - 1)) + bytes + PAGE_SIZE - 1) / PAGE_SIZE;
    mdl.Size =
        static_cast<CSHORT>(sizeof(MDL) + (pages < 4000 ? pages : 4000) * sizeof(PFN_NUMBER));
    mdl.StartVa = reinterpret_cast<PVOID>(start & ~static_cast<ULONG_PTR>(PAGE_SIZE - 1));
    mdl.ByteOffset = static_cast<ULONG>(start & (PAGE_SIZE - 1));
    mdl.ByteCount = bytes;
    if (irp != nullptr) {
        PMDL* link = &irp->MdlAddress;
        if (secondary) {
            while (*link != nullptr)
                link = &(*link)->Next;
        }
        *link = &mdl;
    }
    return &mdl;
}

VOID NTAPI lab_IoFreeMdl(PMDL mdl) {
    require_irql_at_most(DISPATCH_LEVEL, "IoFreeMdl");
    TrackedMdl& tracked = *checked(mdl, "IoFreeMdl");
    if (tracked.state == MdlState::locked) {
        violation("mdl-free", "IoFreeMdl of %p, whose pages are still locked",
                  static_cast<void*>(mdl));
    }
    const std::lock_guard guard(registry().mutex);
    tracked.state = MdlState::freed;
    if (tracked.owner_is_driver) --registry().live_of_driver;
    registry().freed.push_back(&tracked);
}

VOID NTAPI lab_MmBuildMdlForNonPagedPool(PMDL mdl) {
    TrackedMdl& tracked = *checked(mdl, "MmBuildMdlForNonPagedPool");
    if (tracked.state != MdlState::empty) {
        violation("mdl-build", "MmBuildMdlForNonPagedPool of %p, which is in use",
                  static_cast<void*>(mdl));
    }
    tracked.state = MdlState::nonpaged;
    mdl->MappedSystemVa = reinterpret_cast<PVOID>(start_of(*mdl));
    mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags | MDL_SOURCE_IS_NONPAGED_POOL);
}

VOID NTAPI lab_MmProbeAndLockPages(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation) {
    // DISPATCH_LEVEL is allowed on Windows for non-paged memory only; user memory never is.
    require_irql_at_most(mode == UserMode ? APC_LEVEL : DISPATCH_LEVEL, "MmProbeAndLockPages");
    TrackedMdl& tracked = *checked(mdl, "MmProbeAndLockPages");
    if (tracked.owner_is_driver) {
        const ULONG_PTR pages =
            (mdl->ByteOffset + static_cast<ULONG_PTR>(mdl->ByteCount) + PAGE_SIZE - 1) / PAGE_SIZE;
        counters().calls.fetch_add(1, std::memory_order_relaxed);
        counters().page_locks.fetch_add(1, std::memory_order_relaxed);
        counters().pages_locked.fetch_add(pages, std::memory_order_relaxed);
    }
    if (this_thread().held_count != 0) {
        violation("lock-over-paging", "MmProbeAndLockPages while lock %p is held",
                  this_thread().held[0].lock);
    }
    if (tracked.state != MdlState::empty) {
        violation("mdl-lock", "MmProbeAndLockPages of %p, which is in use",
                  static_cast<void*>(mdl));
        return;
    }
    lock_pages(tracked, mode, operation != IoReadAccess);
}

VOID NTAPI lab_MmUnlockPages(PMDL mdl) {
    require_irql_at_most(DISPATCH_LEVEL, "MmUnlockPages");
    TrackedMdl& tracked = *checked(mdl, "MmUnlockPages");
    if (tracked.owner_is_driver) counters().calls.fetch_add(1, std::memory_order_relaxed);
    if (tracked.state != MdlState::locked) {
        violation("mdl-unlock", "MmUnlockPages of %p, whose pages are not locked",
                  static_cast<void*>(mdl));
        return;
    }
    user_memory().unlock(start_of(*mdl), mdl->ByteCount, tracked.for_write, tracked.locked);
    tracked.state = MdlState::empty;
    mdl->MdlFlags = static_cast<CSHORT>(
        mdl->MdlFlags & ~(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_WRITE_OPERATION));
    mdl->MappedSystemVa = nullptr;
}

PVOID NTAPI lab_MmMapLockedPagesSpecifyCache(PMDL mdl, KPROCESSOR_MODE mode, MEMORY_CACHING_TYPE,
                                             PVOID, ULONG, ULONG priority) {
    return map_pages(mdl, mode, priority, __builtin_return_address(0),
                     "MmMapLockedPagesSpecifyCache");
}

VOID NTAPI lab_MmUnmapLockedPages(PVOID address, PMDL mdl) {
    TrackedMdl& tracked = *checked(mdl, "MmUnmapLockedPages");
    if (tracked.state != MdlState::locked || (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) == 0 ||
        mdl->MappedSystemVa != address) {
        violation("mdl-unmap", "MmUnmapLockedPages of %p, which is not mapped there",
                  static_cast<void*>(mdl));
        return;
    }
    mdl->MdlFlags = static_cast<CSHORT>(mdl->MdlFlags & ~MDL_MAPPED_TO_SYSTEM_VA);
    mdl->MappedSystemVa = nullptr;
}

VOID NTAPI lab_ProbeForRead(PVOID address, SIZE_T bytes, ULONG alignment) {
    require_irql_at_most(APC_LEVEL, "ProbeForRead");
    if (bytes == 0) return;
    const auto start = reinterpret_cast<ULONG_PTR>(address);
    if (alignment > 1 && start % alignment != 0) {
        this_thread().raising = true;
        os::raise(static_cast<std::uint32_t>(STATUS_DATATYPE_MISALIGNMENT), start, false);
    }
    if (!is_user_range(start, bytes)) raise_access_violation(start, false);
}

VOID NTAPI lab_ProbeForWrite(PVOID address, SIZE_T bytes, ULONG alignment) {
    require_irql_at_most(APC_LEVEL, "ProbeForWrite");
    if (bytes == 0) return;
    const auto start = reinterpret_cast<ULONG_PTR>(address);
    if (alignment > 1 && start % alignment != 0) {
        this_thread().raising = true;
        os::raise(static_cast<std::uint32_t>(STATUS_DATATYPE_MISALIGNMENT), start, true);
    }
    if (!is_user_range(start, bytes)) raise_access_violation(start, true);
    const std::uintptr_t bad = user_memory().first_unwritable(start, bytes);
    if (bad != 0) raise_access_violation(bad, true);
}

}  // extern "C"
