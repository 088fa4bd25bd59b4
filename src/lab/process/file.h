// SPDX-License-Identifier: LGPL-2.1-or-later
// User space as the driver sees it: simulated processes, their handles, and DeviceIoControl on the
// caller's own thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "driver/ddk/kernel.h"
#include "lab/kernel/os.h"

namespace wnbd::lab::process {

struct IrpRecord;
class File;

/// A simulated process. Threads enter it with ProcessScope; it dies as Windows's processes do.
struct Process {
    explicit Process(std::uint64_t process_id) noexcept : id(process_id) {}

    const std::uint64_t id;
    std::atomic<bool> dying{false};
    std::atomic<std::uint32_t> calls{0};  ///< system calls under way
    os::Mutex mutex;
    std::vector<File*> files;         ///< open handles
    std::vector<IrpRecord*> pending;  ///< IRPs that were left pending
};

/// The calling thread works for the process while this lives.
class ProcessScope {
  public:
    explicit ProcessScope(Process& process) noexcept;
    ~ProcessScope();
    ProcessScope(const ProcessScope&) = delete;
    ProcessScope& operator=(const ProcessScope&) = delete;

  private:
    void* process_;
    std::uint64_t process_id_;
    bool dying_;
};

/// Ends the process at whatever point its threads are: alertable waits break, pending IRPs are
/// cancelled, and when no thread is in a system call any more its handles are closed (CLEANUP,
/// CLOSE). Further calls of its threads return STATUS_THREAD_IS_TERMINATING. False (and a
/// violation) if some thread does not come out within the time.
bool end_process(Process& process, std::uint32_t timeout_ms);

/// An open handle. Any number of threads may use it at once.
class File {
  public:
    /// Opens the top of the device's stack for the process (IRP_MJ_CREATE). On failure `status`
    /// says why.
    static File* open(Process& process, PDEVICE_OBJECT device, NTSTATUS& status);
    /// Closes the handle: IRP_MJ_CLEANUP now, IRP_MJ_CLOSE when the last call on it has ended (as
    /// the I/O manager does it: a call holds a reference to the file object). The caller may use
    /// the file no longer, but for references of its own.
    static void close(File* file);

    /// What a thread holds between looking a handle up and sending its IRP.
    void reference() noexcept { references_.fetch_add(1); }
    /// Gives it back; the last one, after close(), sends IRP_MJ_CLOSE and ends the file.
    static void release(File* file);

    /// NtDeviceIoControlFile for METHOD_BUFFERED codes. Buffers are the calling process's pointers,
    /// checked as Windows checks them. `returned` gets Information when the call did not fail with
    /// an error status.
    NTSTATUS device_io_control(ULONG code, const void* input, ULONG input_length, void* output,
                               ULONG output_length, ULONG& returned);

  private:
    friend bool end_process(Process& process, std::uint32_t timeout_ms);
    File(Process& process, PDEVICE_OBJECT device) noexcept : process_(process), device_(device) {}
    NTSTATUS send_simple(UCHAR major);
    NTSTATUS call(ULONG code, const void* input, ULONG input_length, void* output,
                  ULONG output_length, ULONG& returned);

    Process& process_;
    PDEVICE_OBJECT device_;
    FILE_OBJECT object_{};
    std::atomic<std::uint32_t> references_{1};  // the handle's, and those of calls under way
};

/// With it, each call's system buffer lies at the end of a page that is followed by one that
/// faults; without it (the beginning), a buffer is kept per thread and checked for overruns.
void use_exact_system_buffers(bool exact) noexcept;

}  // namespace wnbd::lab::process
