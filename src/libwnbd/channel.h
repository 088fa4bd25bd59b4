// SPDX-License-Identifier: LGPL-2.1-or-later
// How requests come from the driver and replies go back. One implementation per protocol version.
#pragma once

#include "wnbd.h"

namespace wnbd::libwnbd {

/// ERROR_NO_SUCH_DEVICE, which older SDK headers lack.
inline constexpr DWORD error_no_such_device = 433;

/// Thread-safe: any number of threads fetch and reply at once.
class Channel {
  public:
    Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    virtual ~Channel() = default;

    /// Waits for a request. `buffer` receives its payload.
    [[nodiscard]] virtual DWORD fetch(WNBD_IO_REQUEST& request, void* buffer,
                                      UINT32 buffer_size) noexcept = 0;

    /// Answers a request. With `overlapped` the buffer must outlive the operation.
    [[nodiscard]] virtual DWORD reply(const WNBD_IO_RESPONSE& response, void* data,
                                      UINT32 data_size, LPOVERLAPPED overlapped) noexcept = 0;
};

/// Protocol version 1: one ioctl a request, one ioctl a reply. The handle is the caller's and stays
/// open as long as the channel.
class IoctlChannel final : public Channel {
  public:
    IoctlChannel(HANDLE adapter, WNBD_CONNECTION_ID connection_id) noexcept
        : adapter_(adapter), connection_id_(connection_id) {}

    [[nodiscard]] DWORD fetch(WNBD_IO_REQUEST& request, void* buffer,
                              UINT32 buffer_size) noexcept override;
    [[nodiscard]] DWORD reply(const WNBD_IO_RESPONSE& response, void* data, UINT32 data_size,
                              LPOVERLAPPED overlapped) noexcept override;

  private:
    HANDLE adapter_;
    WNBD_CONNECTION_ID connection_id_;
};

/// Whether an error of fetch() or reply() means that there is no disk any more.
[[nodiscard]] bool disk_is_gone(DWORD error) noexcept;

/// Page-aligned memory for payloads. Pages come into being when first touched.
class FetchBuffer {
  public:
    FetchBuffer() noexcept;
    FetchBuffer(const FetchBuffer&) = delete;
    FetchBuffer& operator=(const FetchBuffer&) = delete;
    ~FetchBuffer();

    [[nodiscard]] UINT8* data() const noexcept { return data_; }  // NULL: no memory
    [[nodiscard]] static constexpr UINT32 size() noexcept {
        return WNBD_DEFAULT_MAX_TRANSFER_LENGTH;
    }

  private:
    UINT8* data_;
};

/// A loop that fetches from a channel until the disk is gone. A failing fetch that says less than
/// that is logged and tried again, more slowly each time: one bad request must not cost the disk.
class FetchLoop {
  public:
    /// True: `request` is to be served. False: the disk is gone, or `stopped` has become true.
    template <typename Stopped>
    [[nodiscard]] bool next(Channel& channel, WNBD_IO_REQUEST& request, const FetchBuffer& buffer,
                            Stopped&& stopped) noexcept {
        while (!stopped()) {
            request = {};
            const DWORD error = channel.fetch(request, buffer.data(), FetchBuffer::size());
            if (error == ERROR_SUCCESS) {
                failures_ = 0;
                return request.RequestType != WnbdReqTypeDisconnect;
            }
            if (disk_is_gone(error)) return false;
            pause_after(error);
        }
        return false;
    }

  private:
    void pause_after(DWORD error) noexcept;

    unsigned failures_ = 0;  // in a row
};

}  // namespace wnbd::libwnbd
