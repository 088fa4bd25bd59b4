// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/file.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/per_thread.h"
#include "lab/kernel/pool.h"
#include "lab/kernel/user_memory.h"
#include "lab/kernel/verifier.h"
#include "lab/process/irp.h"
#include "lab/process/objects.h"

namespace wnbd::lab::process {
namespace {

using kernel::this_thread;
using kernel::violation;

constexpr ULONG lab_tag = 0x2062614C;
constexpr std::size_t guard_bytes = 64;
constexpr unsigned char guard_pattern = 0xC9;
constexpr unsigned char fresh_pattern = 0xA7;
std::atomic<bool> exact_buffers{false};

/// A call's system buffer: input copied in by the I/O manager, output copied out.
class SystemBuffer {
  public:
    explicit SystemBuffer(std::size_t bytes)
        : bytes_(bytes), exact_(exact_buffers.load(std::memory_order_relaxed)) {
        if (bytes == 0) return;
        if (exact_) {
            data_ = static_cast<unsigned char*>(kernel::pool_allocate(bytes, lab_tag, false));
            return;
        }
        std::vector<unsigned char>& cached = *cache.get();
        if (cached.size() < bytes + guard_bytes) cached.resize(bytes + guard_bytes);
        data_ = cached.data();
        std::memset(data_, fresh_pattern, bytes);
        std::memset(data_ + bytes, guard_pattern, guard_bytes);
    }
    ~SystemBuffer() {
        if (data_ == nullptr) return;
        if (exact_) {
            kernel::pool_free(data_, lab_tag);
        } else if (std::any_of(data_ + bytes_, data_ + bytes_ + guard_bytes,
                               [](unsigned char byte) { return byte != guard_pattern; })) {
            violation("system-buffer", "the memory behind a system buffer of %zu bytes was written",
                      bytes_);
        }
    }
    SystemBuffer(const SystemBuffer&) = delete;
    SystemBuffer& operator=(const SystemBuffer&) = delete;
    [[nodiscard]] unsigned char* data() const noexcept { return data_; }

  private:
    // One per thread: a thread has one call under way. Not from the pool, for a page of its own per
    // call would cost more than what is measured.
    static inline PerThread<std::vector<unsigned char>> cache;

    std::size_t bytes_;
    bool exact_;
    unsigned char* data_ = nullptr;
};

bool readable(const void* address, std::size_t bytes) {
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    return kernel::is_user_range(start, bytes) && os::first_fault(start, bytes, false) == 0;
}
bool writable(const void* address, std::size_t bytes) {
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    return kernel::is_user_range(start, bytes) && os::first_fault(start, bytes, true) == 0;
}

/// Counts a system call; none begins once the process dies.
class CallScope {
  public:
    explicit CallScope(Process& process) noexcept : process_(process) {
        process_.calls.fetch_add(1);
        allowed_ = !process_.dying.load();
    }
    ~CallScope() { process_.calls.fetch_sub(1); }
    CallScope(const CallScope&) = delete;
    CallScope& operator=(const CallScope&) = delete;
    [[nodiscard]] bool allowed() const noexcept { return allowed_; }

  private:
    Process& process_;
    bool allowed_;
};

void remember_pending(Process& process, IrpRecord* record) {
    const std::lock_guard guard(process.mutex);
    process.pending.push_back(record);
    if (process.dying.load() && record->done.load() == 0) IoCancelIrp(&record->irp);
}

void forget_pending(Process& process, IrpRecord* record) {
    const std::lock_guard guard(process.mutex);
    std::erase(process.pending, record);
}

}  // namespace

void use_exact_system_buffers(bool exact) noexcept {
    exact_buffers.store(exact);
}

ProcessScope::ProcessScope(Process& process) noexcept
    : process_(this_thread().process),
      process_id_(this_thread().process_id),
      dying_(this_thread().dying.load()) {
    this_thread().process = &process;
    this_thread().process_id = process.id;
    this_thread().dying.store(process.dying.load());
}

ProcessScope::~ProcessScope() {
    this_thread().process = process_;
    this_thread().process_id = process_id_;
    this_thread().dying.store(dying_);
}

bool end_process(Process& process, std::uint32_t timeout_ms) {
    process.dying.store(true);
    std::uint32_t waited_ms = 0;
    while (process.calls.load() != 0 && waited_ms < timeout_ms) {
        kernel::alert_process(process.id, 1);
        {
            const std::lock_guard guard(process.mutex);
            for (IrpRecord* const record : process.pending) {
                if (record->done.load() == 0 && !record->irp.Cancel) IoCancelIrp(&record->irp);
            }
        }
        os::sleep_ms(1);
        ++waited_ms;
    }
    if (process.calls.load() != 0) {
        violation(
            "process-stuck",
            "%u calls of process %llu do not end, %u threads are in waits that nothing breaks",
            process.calls.load(), static_cast<unsigned long long>(process.id),
            kernel::stuck_threads(process.id));
        return false;
    }
    std::vector<File*> files;
    {
        const std::lock_guard guard(process.mutex);
        files = process.files;
    }
    const ProcessScope scope(process);
    for (File* const file : files)
        File::close(file);
    return true;
}

File* File::open(Process& process, PDEVICE_OBJECT device, NTSTATUS& status) {
    PDEVICE_OBJECT const top = IoGetAttachedDeviceReference(device);
    auto* const file = new File(process, top);
    file->object_.Type = 5;  // IO_TYPE_FILE
    file->object_.Size = sizeof file->object_;
    file->object_.DeviceObject = device;
    file->object_.ReadAccess = file->object_.WriteAccess = TRUE;
    const ProcessScope scope(process);
    status = file->send_simple(IRP_MJ_CREATE);
    if (!NT_SUCCESS(status)) {
        ObfDereferenceObject(top);
        delete file;
        return nullptr;
    }
    const std::lock_guard guard(process.mutex);
    process.files.push_back(file);
    return file;
}

void File::close(File* file) {
    {
        const std::lock_guard guard(file->process_.mutex);
        std::erase(file->process_.files, file);
    }
    {
        const ProcessScope scope(file->process_);
        file->send_simple(IRP_MJ_CLEANUP);
    }
    release(file);
}

void File::release(File* file) {
    if (file->references_.fetch_sub(1) != 1) return;
    {
        const ProcessScope scope(file->process_);
        file->send_simple(IRP_MJ_CLOSE);
    }
    ObfDereferenceObject(file->device_);
    delete file;
}

NTSTATUS File::send_simple(UCHAR major) {
    IrpRecord* const record = allocate_irp(device_->StackSize, false);
    if (record == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    record->irp.RequestorMode = UserMode;
    record->irp.Tail.Overlay.OriginalFileObject = &object_;
    PIO_STACK_LOCATION const location = first_location(*record, major, 0);
    location->FileObject = &object_;
    if (major == IRP_MJ_CREATE)
        location->Parameters.Create.ShareAccess = FILE_SHARE_READ | FILE_SHARE_WRITE;
    const NTSTATUS status = send_and_wait(device_, *record);
    free_irp(record);
    return status;
}

NTSTATUS File::device_io_control(ULONG code, const void* input, ULONG input_length, void* output,
                                 ULONG output_length, ULONG& returned) {
    returned = 0;
    auto* const caller = static_cast<Process*>(this_thread().process);
    CallScope scope(caller != nullptr ? *caller : process_);
    if (!scope.allowed()) return STATUS_THREAD_IS_TERMINATING;
    reference();
    // A fatal violation leaves by an exception where a test expects it.
    struct Held {
        File* file;
        ~Held() { release(file); }
    };
    const Held held{this};
    return call(code, input, input_length, output, output_length, returned);
}

NTSTATUS File::call(ULONG code, const void* input, ULONG input_length, void* output,
                    ULONG output_length, ULONG& returned) {
    if ((code & 3) != METHOD_BUFFERED) return STATUS_NOT_SUPPORTED;
    // As NtDeviceIoControlFile does: no buffer means no length, whatever the caller said.
    if (input == nullptr) input_length = 0;
    if (output == nullptr) output_length = 0;
    if (!readable(input, input_length) || !writable(output, output_length))
        return STATUS_ACCESS_VIOLATION;
    const SystemBuffer buffer(std::max(input_length, output_length));
    if (input_length != 0) std::memcpy(buffer.data(), input, input_length);

    IrpRecord* const record = allocate_irp(device_->StackSize, true);
    if (record == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    IRP& irp = record->irp;
    irp.RequestorMode = UserMode;
    irp.AssociatedIrp.SystemBuffer = buffer.data();
    irp.UserBuffer = output;
    irp.Tail.Overlay.OriginalFileObject = &object_;
    PIO_STACK_LOCATION const location = first_location(*record, IRP_MJ_DEVICE_CONTROL, 0);
    location->FileObject = &object_;
    location->Parameters.DeviceIoControl.IoControlCode = code;
    location->Parameters.DeviceIoControl.InputBufferLength = input_length;
    location->Parameters.DeviceIoControl.OutputBufferLength = output_length;

    auto* const caller = static_cast<Process*>(this_thread().process);
    Process& owner = caller != nullptr ? *caller : process_;
    const NTSTATUS first = IofCallDriver(device_, &irp);
    if (first == STATUS_PENDING) {
        remember_pending(owner, record);
        while (record->done.load(std::memory_order_acquire) == 0)
            os::wait_on(&record->done, 0, -1);
        forget_pending(owner, record);
    } else if (record->done.load(std::memory_order_acquire) == 0) {
        violation("irp-status", "a device control returned %08lx before it completed the IRP",
                  static_cast<unsigned long>(first));
        while (record->done.load(std::memory_order_acquire) == 0)
            os::wait_on(&record->done, 0, -1);
    }
    const NTSTATUS status = irp.IoStatus.Status;
    if (first != STATUS_PENDING && first != status) {
        violation("irp-status", "a device control returned %08lx, its IRP says %08lx",
                  static_cast<unsigned long>(first), static_cast<unsigned long>(status));
    }
    const ULONG_PTR information = irp.IoStatus.Information;
    free_irp(record);
    if (NT_ERROR(status)) return status;
    // Without an output buffer nothing is copied, and Information is a mere number. With one all of
    // Information is, however short the buffer was said to be, down to a length of 0.
    if (output != nullptr && information > output_length) {
        violation("information", "Information %llu with an output buffer of %lu bytes",
                  static_cast<unsigned long long>(information),
                  static_cast<unsigned long>(output_length));
        return status;
    }
    if (output_length != 0) {
        if (!writable(output, information)) return STATUS_ACCESS_VIOLATION;
        std::memcpy(output, buffer.data(), information);
    }
    returned = static_cast<ULONG>(information);
    return status;
}

}  // namespace wnbd::lab::process
