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

    /// How many requests a new disk can have in flight: what the initiator was promised. Before the
    /// first command.
    void set_max_requests(std::uint32_t max_requests) noexcept { max_requests_ = max_requests; }

    /// Runs a command in the requestor's process and thread, at PASSIVE_LEVEL. FETCH_REQ waits.
    [[nodiscard]] Completion handle(const Call& call) noexcept;

    /// The number of a command in a call's buffer, 0 if it has none.
    [[nodiscard]] static std::uint32_t command_of(const Call& call) noexcept;

  private:
    // control.cpp
    [[nodiscard]] static Completion version(const Call& call) noexcept;

    // disks.cpp
    [[nodiscard]] Completion create(const Call& call) noexcept;
    [[nodiscard]] Completion remove(const Call& call) noexcept;
    [[nodiscard]] Completion list(const Call& call) noexcept;
    [[nodiscard]] Completion show(const Call& call) noexcept;
    [[nodiscard]] Completion stats(const Call& call) noexcept;
    [[nodiscard]] Completion set_disk_size(const Call& call) noexcept;
    void describe(engine::UnitReference unit, WNBD_CONNECTION_INFO& info) noexcept;
    [[nodiscard]] engine::UnitReference next_disk(std::uint64_t connection_id) noexcept;

    // exchange.cpp
    [[nodiscard]] Completion fetch_request(const Call& call) noexcept;
    [[nodiscard]] Completion send_response(const Call& call) noexcept;
    [[nodiscard]] Result<engine::UnitReference, nt::Status> serving(
        const Call& call, WNBD_CONNECTION_ID connection_id) noexcept;
    [[nodiscard]] nt::Status hand_out(engine::Unit& unit, engine::Request& request,
                                      WNBD_IOCTL_FETCH_REQ_COMMAND& command) noexcept;

    // driver_options.cpp
    [[nodiscard]] Completion get_option(const Call& call) noexcept;
    [[nodiscard]] Completion set_option(const Call& call) noexcept;
    [[nodiscard]] Completion reset_option(const Call& call) noexcept;
    [[nodiscard]] Completion list_options(const Call& call) noexcept;
    [[nodiscard]] Completion reload_config() noexcept;
    [[nodiscard]] Completion finished(nt::Status status) noexcept;

    engine::Adapter& adapter_;
    engine::Options& options_;
    UserMemory& user_memory_;
    DiskLocator& locator_;
    std::uint32_t max_requests_ = engine::max_requests_per_disk;
};

}  // namespace wnbd::ioctl
