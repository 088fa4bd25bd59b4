// SPDX-License-Identifier: LGPL-2.1-or-later
// Keeps the process in memory, so that whoever serves a disk never waits for a page to come from
// one, which may be his own.
#pragma once

#include <cstdint>
#include <string>

namespace wnbd::client {

struct Residence {
    std::uint64_t locked_bytes = 0;
    /// What could not be locked, and why; with 0 bytes there is no reason.
    std::uint64_t unlocked_bytes = 0;
    std::uint32_t code = 0;  // the system's number of the reason
    std::string reason{};    // the system's text of it
};

/// Tells the system that disks wait for this process, which is then given memory without waiting
/// for a disk. For the calling thread and those that it starts from then on. Linux:
/// PR_SET_IO_FLUSHER, a privilege, without which all is as before. Windows has nothing of the kind.
void announce_disk_server() noexcept;

/// Locks what the process has in memory now: code, data, heap and stacks; may be called again. What
/// is allocated later has no contents that would have to come from anywhere. Throws std::bad_alloc.
[[nodiscard]] Residence lock_memory();

/// "3 MiB of 40 MiB could not be locked in memory", or "12 MiB locked in memory".
[[nodiscard]] std::string residence_text(const Residence& residence);

/// For who serves a disk from a server that may be on this machine: says what could not be locked.
void warn_of_unlocked(const Residence& residence);

}  // namespace wnbd::client
