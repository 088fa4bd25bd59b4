// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/channel.h"

#include <algorithm>

#include "libwnbd/log.h"

namespace wnbd::libwnbd {

DWORD IoctlChannel::fetch(WNBD_IO_REQUEST& request, void* buffer, UINT32 buffer_size) noexcept {
    return WnbdIoctlFetchRequest(adapter_, connection_id_, &request, buffer, buffer_size, nullptr);
}

DWORD IoctlChannel::reply(const WNBD_IO_RESPONSE& response, void* data, UINT32 data_size,
                          LPOVERLAPPED overlapped) noexcept {
    WNBD_IO_RESPONSE copy = response;
    return WnbdIoctlSendResponse(adapter_, connection_id_, &copy, data, data_size, overlapped);
}

bool disk_is_gone(DWORD error) noexcept {
    switch (error) {
        case ERROR_INVALID_HANDLE:        // no such connection
        case ERROR_SHUTDOWN_IN_PROGRESS:  // lost, and kept for the sake of our handle
        case ERROR_FILE_NOT_FOUND:        // from here on: no such adapter
        case ERROR_DEVICE_NOT_CONNECTED:
        case error_no_such_device:
        case ERROR_DEVICE_REMOVED:
        case ERROR_BAD_COMMAND: return true;
        default: return false;
    }
}

FetchBuffer::FetchBuffer() noexcept
    : data_(static_cast<UINT8*>(
          VirtualAlloc(nullptr, size(), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE))) {}

FetchBuffer::~FetchBuffer() {
    if (data_ != nullptr) VirtualFree(data_, 0, MEM_RELEASE);
}

void FetchLoop::pause_after(DWORD error) noexcept {
    constexpr unsigned doublings_max = 10;  // 1 s
    const unsigned doublings = std::min(failures_, doublings_max);
    // Once per stage is enough: a lasting failure must not fill the log.
    if (failures_ <= doublings_max)
        LOG_WARNING("could not fetch a request, trying on: %s", error_text(error).c_str());
    ++failures_;
    Sleep(1U << doublings);
}

}  // namespace wnbd::libwnbd
