// SPDX-License-Identifier: LGPL-2.1-or-later
// FETCH_REQ. Its reply is the command buffer, larger than the request the caller wants, so with a
// caller's OVERLAPPED the buffer must live until the operation ends, and somebody must take the
// request out of it then: this file's PendingFetch does.
#include <atomic>
#include <new>

#include "libwnbd/device_control.h"
#include "libwnbd/windows_handles.h"

using namespace wnbd::libwnbd;

namespace {

/// STATUS_PENDING, as OVERLAPPED.Internal says it; also what a kernel pointer-sized field holds.
constexpr ULONG_PTR status_pending = 0x103;

/// One overlapped fetch: the driver completes `own_`, a thread of the system's pool then copies the
/// request out and completes the caller's OVERLAPPED in the way GetOverlappedResult reads it. The
/// caller's operation can be cancelled by CancelIoEx(handle, NULL), not by its OVERLAPPED.
class PendingFetch {
  public:
    PendingFetch(const WNBD_IOCTL_FETCH_REQ_COMMAND& command, PWNBD_IO_REQUEST request,
                 LPOVERLAPPED callers) noexcept
        : command_(command), request_(request), callers_(callers) {
        own_.hEvent = event_.get();
    }
    PendingFetch(const PendingFetch&) = delete;
    PendingFetch& operator=(const PendingFetch&) = delete;

    /// ERROR_IO_PENDING: the pool's thread is a user, too. Anything else: it has ended.
    DWORD start(HANDLE adapter) noexcept {
        if (!event_.valid()) return ERROR_NO_SYSTEM_RESOURCES;
        // Had before the driver is asked, for what it is asked is not easily taken back.
        wait_ = CreateThreadpoolWait(&PendingFetch::ended, this, nullptr);
        if (wait_ == nullptr) return ERROR_NO_SYSTEM_RESOURCES;
        const HANDLE callers_event = event_of_caller();
        ResetEvent(callers_event);
        callers_->Internal = status_pending;
        callers_->InternalHigh = 0;
        DWORD returned = 0;
        if (DeviceIoControl(adapter, process_service_irp, &command_, sizeof(command_), &command_,
                            sizeof(command_), &returned, &own_)) {
            complete_callers();
            return ERROR_SUCCESS;
        }
        const DWORD error = last_error();
        if (error != ERROR_IO_PENDING) return error;
        ++users_;
        SetThreadpoolWait(wait_, event_.get(), nullptr);
        return ERROR_IO_PENDING;
    }

    /// The last user takes it down: who started it, or the thread that saw its end.
    void leave() noexcept {
        if (--users_ == 0) delete this;
    }

  private:
    ~PendingFetch() {
        if (wait_ != nullptr) CloseThreadpoolWait(wait_);
    }

    static VOID CALLBACK ended(PTP_CALLBACK_INSTANCE, PVOID context, PTP_WAIT, TP_WAIT_RESULT) {
        auto* const fetch = static_cast<PendingFetch*>(context);
        fetch->complete_callers();
        fetch->leave();
    }

    [[nodiscard]] HANDLE event_of_caller() const noexcept {
        // The low bit is the caller's sign to a completion port (GetQueuedCompletionStatus).
        auto* const event = static_cast<char*>(callers_->hEvent);
        return event - (reinterpret_cast<ULONG_PTR>(event) & 1);
    }

    void complete_callers() noexcept {
        const bool fetched = own_.Internal == 0 && own_.InternalHigh >= sizeof(command_);
        if (fetched) *request_ = command_.Request;
        callers_->InternalHigh = own_.InternalHigh;
        const HANDLE callers_event = event_of_caller();
        // The status last: once it is not pending any more, the caller may free everything.
        std::atomic_ref(callers_->Internal).store(own_.Internal, std::memory_order_release);
        SetEvent(callers_event);
    }

    WNBD_IOCTL_FETCH_REQ_COMMAND command_;
    PWNBD_IO_REQUEST request_;
    LPOVERLAPPED callers_;
    UniqueHandle event_{CreateEventW(nullptr, TRUE, FALSE, nullptr)};
    PTP_WAIT wait_ = nullptr;
    OVERLAPPED own_{};
    std::atomic<int> users_{1};
};

DWORD fetch_and_wait(HANDLE adapter, WNBD_IOCTL_FETCH_REQ_COMMAND& command,
                     PWNBD_IO_REQUEST request) {
    DWORD returned = 0;
    const DWORD error =
        device_control(adapter, process_service_irp, std::as_bytes(std::span(&command, 1)),
                       std::as_writable_bytes(std::span(&command, 1)), &returned, nullptr);
    if (error != ERROR_SUCCESS) return error;
    if (returned < sizeof(command)) return ERROR_INVALID_DATA;
    *request = command.Request;
    return ERROR_SUCCESS;
}

}  // namespace

extern "C" DWORD WnbdIoctlFetchRequest(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId,
                                       PWNBD_IO_REQUEST Request, PVOID DataBuffer,
                                       UINT32 DataBufferSize, LPOVERLAPPED Overlapped) {
    if (Request == nullptr || (DataBuffer == nullptr && DataBufferSize > 0))
        return ERROR_INVALID_PARAMETER;
    if (Adapter == nullptr || Adapter == INVALID_HANDLE_VALUE) return ERROR_INVALID_HANDLE;
    WNBD_IOCTL_FETCH_REQ_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_FETCH_REQ;
    command.ConnectionId = ConnectionId;
    command.DataBuffer = DataBuffer;
    command.DataBufferSize = DataBufferSize;
    // Without an event nobody could be told of the end; the first implementation waited, too.
    if (Overlapped == nullptr || Overlapped->hEvent == nullptr)
        return fetch_and_wait(Adapter, command, Request);

    auto* const fetch = new (std::nothrow) PendingFetch(command, Request, Overlapped);
    if (fetch == nullptr) return ERROR_NOT_ENOUGH_MEMORY;
    const DWORD error = fetch->start(Adapter);
    fetch->leave();
    return error;
}
