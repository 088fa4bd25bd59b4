// SPDX-License-Identifier: LGPL-2.1-or-later
// How the lab's kernel reaches the memory of the process that called: plain pointers in the
// one-process host, a copy through the system in Wine's kernel process.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::lab::kernel {

class UserMemory {
  public:
    /// What lock() hands back to unlock().
    struct Locked {
        void* system_address = nullptr;  ///< valid until unlock()
        void* context = nullptr;         ///< the implementation's own
    };
    virtual ~UserMemory() = default;

    /// Makes [address, address + bytes) of the current caller's process available to the kernel.
    /// Called in the caller's thread. False: some page cannot be accessed as asked; then nothing is
    /// held and `bad_address` says which.
    virtual bool lock(std::uintptr_t address, std::size_t bytes, bool write, Locked& locked,
                      std::uintptr_t& bad_address) = 0;
    /// Ends what lock() began; if it was for writing, the process sees what was written. Any
    /// thread.
    virtual void unlock(std::uintptr_t address, std::size_t bytes, bool write, Locked& locked) = 0;
    /// ProbeForWrite's touch of each page: gives the first address that cannot be written, or 0.
    virtual std::uintptr_t first_unwritable(std::uintptr_t address, std::size_t bytes) = 0;
};

/// One past the highest address a process can own on x64.
inline constexpr std::uintptr_t user_address_end = 0x7FFFFFFF0000;

/// The implementation in use: plain pointers until a host sets another. Not owned.
UserMemory& user_memory() noexcept;
void set_user_memory(UserMemory& implementation) noexcept;
/// True if the whole range lies where a process's memory can lie (overflow and the kernel's range
/// excluded).
bool is_user_range(std::uintptr_t address, std::size_t bytes) noexcept;

/// Reports each MDL of the driver that still exists.
void check_mdl_balance();
/// Number of MDLs the driver owns.
std::uint64_t mdl_count() noexcept;

}  // namespace wnbd::lab::kernel
