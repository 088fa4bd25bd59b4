// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/user_memory.h"

#include <bit>
#include <limits>

#include "driver/seh.h"

namespace wnbd::driver {

Result<ioctl::UserMemory::Mapping, nt::Status> UserMemory::map(void* address, std::size_t length,
                                                               Access access) noexcept {
    if (length == 0 || length > std::numeric_limits<ULONG>::max())
        return Failure{nt::invalid_parameter};
    PMDL const mdl = IoAllocateMdl(address, static_cast<ULONG>(length), FALSE, FALSE, nullptr);
    if (mdl == nullptr) return Failure{nt::insufficient_resources};

    const LOCK_OPERATION operation = access == Access::write ? IoWriteAccess : IoReadAccess;
    const NTSTATUS locked = guarded([&] { MmProbeAndLockPages(mdl, UserMode, operation); });
    if (!NT_SUCCESS(locked)) {
        IoFreeMdl(mdl);
        return Failure{nt::Status{locked}};
    }
    // The header's enumeration has no name for the flag.
    const auto priority = std::bit_cast<MM_PAGE_PRIORITY>(
        static_cast<std::uint32_t>(NormalPagePriority | MDL_MAPPING_NO_EXECUTE));
    void* const mapped =
        MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, nullptr, FALSE, priority);
    if (mapped == nullptr) {
        MmUnlockPages(mdl);
        IoFreeMdl(mdl);
        return Failure{nt::insufficient_resources};
    }
    return Mapping{{static_cast<std::uint8_t*>(mapped), length}, mdl};
}

// MmUnlockPages also takes down the system mapping.
void UserMemory::unmap(const Mapping& mapping) noexcept {
    auto* const mdl = static_cast<PMDL>(mapping.token);
    MmUnlockPages(mdl);
    IoFreeMdl(mdl);
}

}  // namespace wnbd::driver
