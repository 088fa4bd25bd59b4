// SPDX-License-Identifier: LGPL-2.1-or-later
// What the lab's kernel takes from the operating system it really runs on. Everything that is
// called per I/O stays out of Win32's handle-based objects: those are round trips to another
// process under Wine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::lab::os {

inline constexpr std::size_t page_size = 4096;

/// A slim reader/writer lock, used exclusively.
class Mutex {
  public:
    constexpr Mutex() noexcept = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void lock() noexcept;
    void unlock() noexcept;

  private:
    void* word_ = nullptr;
};

/// Address space without memory behind it; nullptr when there is none. Never given back.
void* reserve(std::size_t bytes) noexcept;
/// Makes pages of a reservation readable and writable, zeroed.
bool commit(void* address, std::size_t bytes) noexcept;
/// Takes the memory away again: any access to the pages faults from now on.
void decommit(void* address, std::size_t bytes) noexcept;

/// Waits until *address differs from `expected` or was woken, or the time is over (-1: for ever).
/// Wakes without a reason happen. False: time-out.
bool wait_on(volatile void* address, std::uint32_t expected, std::int64_t timeout_100ns) noexcept;
void wake_all(volatile void* address) noexcept;
void wake_one(volatile void* address) noexcept;

void relax() noexcept;
void yield() noexcept;
void sleep_ms(std::uint32_t milliseconds) noexcept;

/// A monotonic clock in units of 100 ns.
std::uint64_t now_100ns() noexcept;
/// The clock on the wall, in 100 ns since 1601.
std::uint64_t system_time_100ns() noexcept;
std::uint32_t thread_id() noexcept;
std::uint32_t process_id() noexcept;

using ThreadEntry = void (*)(void* context);
/// Starts a detached thread; false when it cannot.
bool start_thread(ThreadEntry entry, void* context) noexcept;

/// One pointer per thread for the kernel's own use.
void* thread_slot() noexcept;
void set_thread_slot(void* value) noexcept;

/// Touches each page of the range, for writing without changing it, and gives the first address
/// that faults or 0.
std::uintptr_t first_fault(std::uintptr_t start, std::size_t bytes, bool write) noexcept;

/// Raises a structured exception as the kernel does; `address` and `write` are what an access
/// violation names.
[[noreturn]] void raise(std::uint32_t status, std::uintptr_t address, bool write);

/// What a vectored handler tells the kernel: returns true when the fault was dealt with and may be
/// retried.
struct Fault {
    std::uint32_t code;
    std::uintptr_t instruction;
    std::uintptr_t address;  ///< of an access violation
    bool write;
    std::uint64_t* rip;
    std::uint64_t* registers[16];
};
using FaultHandler = bool (*)(const Fault& fault);
/// Installs the process-wide handler once; first_fault() needs it too and installs it by itself.
void set_fault_handler(FaultHandler handler) noexcept;

/// The image whose offset a crash message names besides the address; nullptr: none. An exception
/// that nobody handles ends the process with code 4 and says where it happened.
void set_crash_image(const void* base, std::size_t bytes) noexcept;

/// Writes to standard error, unbuffered.
void print(const char* text) noexcept;
[[noreturn]] void exit_process(unsigned code) noexcept;

}  // namespace wnbd::lab::os
