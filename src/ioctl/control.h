// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's commands (include/wnbd_ioctl.h), from the system buffer to the engine and back.
// Knows no Windows header, so that it runs natively under sanitizers and fuzzers.
#pragma once

#include <cstdint>
#include <span>

#include "engine/adapter.h"
#include "engine/options.h"

namespace wnbd::ioctl {

/// Memory of the calling process that a command points to. Hostile: any address may be wrong, and
/// what is behind it may change at any time.
class UserMemory {
  public:
    enum class Access : std::uint8_t { read, write };  // what we do with it

    struct Mapping {
        std::span<std::uint8_t> bytes;
        void* token = nullptr;  // the implementation's own
    };

    /// Checks, locks and maps `length` > 0 bytes of the current process. access_violation when any
    /// of them is not the process's to read (write); insufficient_resources.
    [[nodiscard]] virtual Result<Mapping, nt::Status> map(void* address, std::size_t length,
                                                          Access access) noexcept = 0;
    virtual void unmap(const Mapping& mapping) noexcept = 0;

  protected:
    ~UserMemory() = default;
};

/// Where the system has put a disk.
class DiskLocator {
  public:
    /// Fills in the PhysicalDrive number (-1: not known yet) and the PnP instance id (terminated;
    /// empty: not known yet) of the disk at `target`.
    virtual void locate(std::uint8_t target, std::uint64_t connection_id, INT& disk_number,
                        std::span<WCHAR> device_id) noexcept = 0;

  protected:
    ~DiskLocator() = default;
};

/// One METHOD_BUFFERED call. `buffer` holds max(input_length, output_length) bytes and is aligned
/// as pool memory is; the reply overwrites the command.
struct Call {
    std::uint8_t* buffer = nullptr;
    std::size_t input_length = 0;
    std::size_t output_length = 0;
    INT process_id = 0;              // the requestor's
    engine::Owner handle = nullptr;  // the requestor's open handle
};

struct Completion {
    nt::Status status = nt::success;
    std::size_t information =
        0;  // bytes of the reply; never more than output_length, unless that is 0
};

class Control {
  public:
    constexpr Control(engine::Adapter& adapter, engine::Options& options, UserMemory& user_memory,
                      DiskLocator& locator) noexcept
        : adapter_(adapter), options_(options), user_memory_(user_memory), locator_(locator) {}

    /// Runs a command in the requestor's process and thread, at PASSIVE_LEVEL. FETCH_REQ waits.
    [[nodiscard]] Completion handle(const Call& call) noexcept;

    /// The number of a command in a call's buffer, 0 if it has none.
    [[nodiscard]] static std::uint32_t command_of(const Call& call) noexcept;

  private:
    engine::Adapter& adapter_;
    engine::Options& options_;
    UserMemory& user_memory_;
    DiskLocator& locator_;
};

}  // namespace wnbd::ioctl
