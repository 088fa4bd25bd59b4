// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/device_control.h"

#include "base/per_thread.h"
#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

namespace {

/// The calling thread's event, made at its first call and kept: two system calls less per command.
struct Event {
    UniqueHandle handle{CreateEventW(nullptr, TRUE, FALSE, nullptr)};
};
PerThread<Event> events;

HANDLE thread_event() noexcept {
    const Event* const event = events.get();
    return event == nullptr ? nullptr : event->handle.get();
}

/// The low bit keeps the completion away from a completion port the caller may have bound the
/// handle to (GetQueuedCompletionStatus, remarks).
HANDLE without_completion_port(HANDLE event) noexcept {
    // Handles are multiples of four.
    return static_cast<char*>(event) + 1;
}

}  // namespace

DWORD device_control(HANDLE device, DWORD code, std::span<const std::byte> input,
                     std::span<std::byte> output, DWORD* returned,
                     LPOVERLAPPED overlapped) noexcept {
    if (device == nullptr || device == INVALID_HANDLE_VALUE) return ERROR_INVALID_HANDLE;
    OVERLAPPED own{};
    LPOVERLAPPED used = overlapped;
    if (used == nullptr) {
        const HANDLE event = thread_event();
        if (event == nullptr) return ERROR_NO_SYSTEM_RESOURCES;
        own.hEvent = without_completion_port(event);
        used = &own;
    }
    // DeviceIoControl wants a writable pointer, but does not write to its input.
    auto* const in = const_cast<std::byte*>(input.data());
    DWORD count = 0;
    BOOL done = DeviceIoControl(device, code, in, static_cast<DWORD>(input.size()),
                                output.empty() ? nullptr : output.data(),
                                static_cast<DWORD>(output.size()), &count, used);
    if (!done && overlapped == nullptr && GetLastError() == ERROR_IO_PENDING)
        done = GetOverlappedResult(device, used, &count, TRUE);
    if (!done) return last_error();
    *returned = count;
    return ERROR_SUCCESS;
}

}  // namespace wnbd::libwnbd
