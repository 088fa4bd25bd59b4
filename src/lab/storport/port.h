// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's Storport seen from above: send SCSI commands to a virtual miniport's units as the disk
// class does, and pull at the levers that only a test wants (resets at any moment, shorter clocks).
// All functions may be called from any thread, many at once, except where it is said.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "driver/ddk/kernel.h"

namespace wnbd::lab {

struct Address {
    std::uint8_t path = 0;
    std::uint8_t target = 0;
    std::uint8_t lun = 0;
    friend bool operator==(const Address&, const Address&) = default;
    [[nodiscard]] std::uint32_t key() const {
        return static_cast<std::uint32_t>(path) << 16 | static_cast<std::uint32_t>(target) << 8 |
               lun;
    }
};

/// Unspecified: a buffer is there, and the command knows what for.
enum class Direction : std::uint8_t { None, In, Out, Unspecified };

/// Which SRB form carries the request. Adapter: the one that the adapter negotiated. Alternate: the
/// negotiated one and, where the miniport takes both, the other one in turn.
enum class SrbForm : std::uint8_t { Adapter, Classic, Extended, Alternate };

/// One request; the caller owns it and leaves it alone from submit() until `complete` is called.
/// `complete` runs on a completion thread (at DISPATCH_LEVEL where the host knows IRQLs), exactly
/// once; it may free the request and may submit others.
struct Request {
    Address address;
    std::uint8_t function = 0;     ///< SRB function; 0 is EXECUTE_SCSI
    std::uint32_t pnp_action = 0;  ///< with SRB_FUNCTION_PNP: a STOR_PNP_ACTION
    std::uint8_t cdb[32] = {};
    std::uint8_t cdb_length = 0;
    Direction direction = Direction::None;
    SrbForm form = SrbForm::Adapter;
    std::uint32_t flags = 0;  ///< further SRB_FLAGS_*
    void* data = nullptr;     ///< plain memory of this process, data_length bytes
    std::uint32_t data_length = 0;
    std::uint32_t timeout_seconds = 60;
    void (*complete)(Request& request) = nullptr;
    void* context = nullptr;

    std::uint8_t srb_status = 0;  ///< without the QUEUE_FROZEN and AUTOSENSE_VALID bits
    std::uint8_t scsi_status = 0;
    std::uint8_t sense_length = 0;  ///< 0 when there is no sense data
    std::uint8_t sense[252] = {};
    std::uint32_t transferred = 0;   ///< bytes, never more than data_length
    std::int32_t system_status = 0;  ///< NTSTATUS that comes with SRB_STATUS_INTERNAL_ERROR

    void* abort_srb = nullptr;       ///< the port's own: the SRB that ABORT_COMMAND names
    std::uint32_t busy_retries = 0;  ///< how often the port had to send it again
};

class Adapter;

struct PortOptions {
    /// Milliseconds after which an SRB counts as timed out, instead of its own timeout; 0: its own.
    /// From the environment: WNBD_LAB_TIMEOUT_MS.
    std::uint32_t timeout_ms = 0;
    /// How long the miniport has to complete what a reset or a removal must complete
    /// (WNBD_LAB_GRACE_MS).
    std::uint32_t grace_ms = 5000;
    /// Pause of a unit that answered BUSY; Windows: 250 ms.
    std::uint32_t busy_pause_ms = 250;
    /// Payload goes through guarded memory of the port, so that late touches are seen. Off: the
    /// caller's memory is given to the miniport as it is (for benchmarks).
    bool shadow_data = true;
    /// Completions run in the completing thread as soon as HwStartIo is not on its stack, instead
    /// of on completion threads. For benchmarks: a miniport that completes under a lock would
    /// deadlock.
    bool inline_completion = false;
    /// Requests of a unit that may be out at once, instead of what the miniport asked for; 0: that.
    std::uint32_t unit_depth = 0;
    /// The SRBs that were there before Windows 8, also for a miniport that takes both forms.
    bool classic_srbs = false;
    /// Every n-th StorPortGetSystemAddress and pool allocation fails; 0: none does.
    std::uint32_t fail_every = 0;
};

/// Read once at adapter start; set before that. Not to be called concurrently.
void set_port_options(const PortOptions& options);
[[nodiscard]] PortOptions port_options();

/// Started adapters; the pointers stay valid until the adapter is removed.
[[nodiscard]] std::vector<Adapter*> adapters();
[[nodiscard]] Adapter* find_adapter(PDEVICE_OBJECT functional_device);

/// Hands a request over. Never blocks; completes it even when the adapter is stopped (NO_HBA).
void submit(Adapter& adapter, Request& request);
/// submit() and wait. PASSIVE_LEVEL.
void execute(Adapter& adapter, Request& request);

/// Resets as Windows sends them. Each waits for the miniport's answer and then, up to the grace
/// time, for every SRB that was out when the reset was sent; one left over is a violation. Return
/// SRB status.
std::uint8_t reset_logical_unit(Adapter& adapter, Address address);
std::uint8_t reset_target(Adapter& adapter, Address address);
bool reset_bus(Adapter& adapter, std::uint8_t path);
/// ABORT_COMMAND for one of the SRBs that are out at the address, whichever `choice` falls on.
/// Waits like a reset, but for that SRB alone, and holds nothing back meanwhile. Nothing when none
/// is out.
std::optional<std::uint8_t> abort_one(Adapter& adapter, Address address, std::uint64_t choice);
std::uint8_t flush(Adapter& adapter, Address address);
std::uint8_t shutdown(Adapter& adapter, Address address);

struct PortCounters {
    std::uint64_t issued = 0;     ///< SRBs given to HwStartIo
    std::uint64_t completed = 0;  ///< SRBs that came back
    std::uint64_t timed_out = 0;
    std::uint64_t busy = 0;       ///< answers BUSY or QUEUE FULL, retried here
    std::uint64_t held_back = 0;  ///< requests that had to wait for a queue slot
    std::uint64_t resets = 0;
    std::uint64_t aborts = 0;       ///< by abort_one
    std::uint32_t outstanding = 0;  ///< now
    std::uint32_t outstanding_max = 0;
    std::uint32_t unit_outstanding_max = 0;
};
[[nodiscard]] PortCounters counters(Adapter& adapter);

struct PortLimits {
    std::uint32_t max_transfer_length = 0;  ///< bytes
    std::uint32_t max_outstanding = 0;      ///< adapter-wide
    std::uint32_t max_outstanding_unit = 0;
    std::uint32_t alignment_mask = 0;
    std::uint8_t port_number = 0;  ///< N of \\.\ScsiN:
    std::uint8_t bus_type = 0;     ///< STORAGE_BUS_TYPE from Parameters\BusType
};
[[nodiscard]] PortLimits limits(Adapter& adapter);

/// Asks for a bus scan, as StorPortNotification(BusChangeDetected) does. Asynchronous.
void request_rescan(Adapter& adapter);

}  // namespace wnbd::lab
