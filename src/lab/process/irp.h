// SPDX-License-Identifier: LGPL-2.1-or-later
// IRPs: making, sending, completing and cancelling them, with every misuse reported.
#pragma once

#include <atomic>
#include <cstdint>

#include "driver/ddk/kernel.h"

namespace wnbd::lab::process {

struct Process;

/// The memory of an IRP and what the I/O manager knows about it. Never given back to the heap, so
/// that a stale pointer is recognised.
struct IrpRecord {
    static constexpr int stack_max = 8;
    enum class State : std::uint32_t { freed, allocated, sent, completed };

    IRP irp;  // first: the driver's pointer is ours; the stack must follow it
    IO_STACK_LOCATION stack[stack_max];
    std::atomic<State> state{State::freed};
    std::atomic<std::uint32_t> done{
        0};  ///< 1 when the whole stack has completed it; the sender sleeps on it
    bool free_when_done = false;    ///< a threaded IRP that a driver built
    std::uint64_t process_id = 0;   ///< of the requestor
    void* caller_output = nullptr;  ///< where a threaded IRP's output goes
    ULONG caller_output_length = 0;
    void* system_buffer = nullptr;  ///< from the pool, freed with the IRP
};

/// Storport and drivers call these by their DDK names; this is for the host itself.
IrpRecord* allocate_irp(CCHAR stack_size, bool quota);
void free_irp(IrpRecord* record);
IrpRecord* record_of(PIRP irp, const char* function);

/// Prepares the first stack location of a fresh IRP.
PIO_STACK_LOCATION first_location(IrpRecord& record, UCHAR major, UCHAR minor);
/// Sends to the device and waits for completion, however long it takes. Frees nothing. Gives the
/// final status.
NTSTATUS send_and_wait(PDEVICE_OBJECT device, IrpRecord& record);
/// Number of IRPs that are sent and not completed.
std::int64_t irps_outstanding() noexcept;

}  // namespace wnbd::lab::process
