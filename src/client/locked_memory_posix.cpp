// SPDX-License-Identifier: LGPL-2.1-or-later
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "client/locked_memory.h"

namespace wnbd::client {
namespace {

/// Above it memory without a file is locked page by page as it comes into being: the stacks, which
/// reserve far more than they use, and a disk's content in memory.
constexpr std::uint64_t whole_max = std::uint64_t{4} << 20;

struct Region {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool lockable = false;
    bool has_file = false;
};

/// A line of /proc/self/maps (proc(5)): begin-end perms offset device inode path.
Region region_of(const std::string& line) {
    Region region;
    char* after = nullptr;
    region.begin = std::strtoull(line.c_str(), &after, 16);
    if (*after != '-') return {};
    region.end = std::strtoull(after + 1, &after, 16);
    if (*after != ' ' || region.end < region.begin) return {};
    const std::string_view rest(after + 1);
    const auto path = rest.find_first_of("/[");
    // What the kernel itself maps, [vdso] and [vvar], is always there.
    region.lockable = rest.starts_with('r') && rest.find("[v") == std::string_view::npos;
    region.has_file = path != std::string_view::npos && rest[path] == '/';
    return region;
}

/// Under a limit, later mappings would fail when it is reached, and with them allocations.
void lock_what_comes(std::uint64_t locked_bytes) noexcept {
    rlimit limit{};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return;
    // Whoever could lock more than the limit says has the privilege to.
    if (limit.rlim_cur == RLIM_INFINITY || locked_bytes > limit.rlim_cur)
        mlockall(MCL_FUTURE | MCL_ONFAULT);
}

}  // namespace

void announce_disk_server() noexcept {
#if defined(PR_SET_IO_FLUSHER)
    prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#endif
}

Residence lock_memory() {
    Residence residence;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        const Region region = region_of(line);
        if (!region.lockable) continue;
        const std::uint64_t size = region.end - region.begin;
        const bool whole = region.has_file || size <= whole_max;
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel gives it as text
        void* const at = reinterpret_cast<void*>(region.begin);
        if (mlock2(at, size, whole ? 0 : MLOCK_ONFAULT) == 0) {
            residence.locked_bytes += size;
            continue;
        }
        const int error = errno;
        // Unmapped since by another thread.
        if (error == ENOMEM && msync(at, size, MS_ASYNC) != 0) continue;
        residence.code = static_cast<std::uint32_t>(error);
        residence.unlocked_bytes += size;
    }
    if (residence.unlocked_bytes == 0) lock_what_comes(residence.locked_bytes);
    residence.reason = std::generic_category().message(static_cast<int>(residence.code));
    return residence;
}

}  // namespace wnbd::client
