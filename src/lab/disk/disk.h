// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's disk class: a device on top of each unit's physical device, reached as
// \\.\PhysicalDriveN, which turns reads, writes, flushes and the disk ioctls into SCSI commands.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "driver/ddk/storport.h"
#include "lab/storport/units.h"

namespace wnbd::lab {

/// Fills the driver object's dispatch table and takes every unit from now on. `direct_io`: the host
/// describes read and write buffers by MDLs that MmGetSystemAddressForMdlSafe can map; otherwise
/// they come in system buffers.
void start_disk_class(PDRIVER_OBJECT driver, bool direct_io);

/// What VPD pages B0h, B1h and B2h say; of a unit without them, nothing.
struct BlockTraits {
    std::uint32_t unmap_blocks_max = 0;       // of one UNMAP
    std::uint32_t unmap_descriptors_max = 0;  // of one UNMAP
    std::uint32_t unmap_granularity = 0;      // blocks
    bool unmap = false;
    bool unmapped_reads_zero = false;
    bool thin = false;
    bool rotates = true;
};

/// What outlives the device object: requests under way hold it.
struct Disk {
    UnitIdentity unit;
    std::uint32_t number = 0;  // N of PhysicalDriveN
    PDEVICE_OBJECT physical_device = nullptr;

    std::mutex mutex;  // guards what follows
    std::uint64_t blocks = 0;
    std::uint32_t block_size = 0;           // bytes
    std::uint32_t physical_block_size = 0;  // bytes
    bool write_protected = false;
    bool write_cache = false;
    BlockTraits traits;
    std::uint64_t attributes = 0;  // offline, read-only: kept in memory only

    std::atomic<bool> started{false};
    std::atomic<bool> gone{false};  // removed: everything fails from here on
    std::atomic<std::uint32_t> open_handles{0};

    [[nodiscard]] std::uint64_t length() {
        const std::lock_guard lock(mutex);
        return blocks * block_size;
    }
    [[nodiscard]] std::uint32_t sector() {
        const std::lock_guard lock(mutex);
        return block_size;
    }
};

struct DiskDevice {
    PDEVICE_OBJECT self;
    PDEVICE_OBJECT lower;
    std::shared_ptr<Disk>* disk;  // never deleted: see remove() in device.cpp
};

/// READ CAPACITY, MODE SENSE and the pages of vital product data; false when the unit does not
/// answer.
bool read_properties(Disk& disk);
BlockTraits read_block_traits(Disk& disk);

/// Executes one command and waits; unit attentions, resets and aborts are retried as Windows does.
/// Returns the NTSTATUS of classpnp for it.
NTSTATUS run_command(Disk& disk, Request& request);
/// True for the unit attention CAPACITY DATA HAS CHANGED, after which Windows reads the capacity.
bool tells_new_capacity(const Request& request);
/// The NTSTATUS for a completed request; `retry` says whether Windows would send it again.
NTSTATUS status_of(const Request& request, bool& retry);
inline constexpr unsigned kRetriesMax = 8;

NTSTATUS disk_read_write(std::shared_ptr<Disk> disk, PIRP irp);
NTSTATUS disk_flush(Disk& disk);
NTSTATUS disk_control(DiskDevice& device, PIRP irp);
/// These run where they may block.
NTSTATUS pass_through(Disk& disk, PIRP irp, bool direct);
NTSTATUS persistent_reserve(Disk& disk, PIRP irp, bool out);
NTSTATUS manage_data_sets(Disk& disk, PIRP irp);
NTSTATUS query_property(Disk& disk, PIRP irp);

}  // namespace wnbd::lab
