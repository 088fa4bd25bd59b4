// SPDX-License-Identifier: LGPL-2.1-or-later
// What stands behind a PWNBD_DISK.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "libwnbd/channel.h"
#include "libwnbd/counters.h"
#include "libwnbd/request_check.h"
#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

/// WNBD_DISK's members keep their places and meanings for those who read them; threads synchronise
/// through what is declared here.
struct Disk : WNBD_DISK {
    Disk() : WNBD_DISK{} {}
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk();

    [[nodiscard]] static Disk* of(PWNBD_DISK disk) noexcept { return static_cast<Disk*>(disk); }

    [[nodiscard]] bool open() const noexcept {
        return Handle != nullptr && Handle != INVALID_HANDLE_VALUE;
    }
    [[nodiscard]] bool stopped() noexcept {
        return std::atomic_ref(Stopped).load(std::memory_order_acquire) != FALSE;
    }
    void set_stopped() noexcept { std::atomic_ref(Stopped).store(TRUE, std::memory_order_release); }

    std::unique_ptr<Channel> channel;
    Counters counters;
    ServerLimits limits;     // constant from WnbdStartDispatcher on
    std::mutex start_mutex;  // of WnbdStartDispatcher: threads are started once
};

/// CREATE on a freshly opened adapter. On success the disk owns the handle and has its channel.
[[nodiscard]] DWORD create_disk(const WNBD_PROPERTIES& properties, Disk& disk);

/// The disk as the driver sees it now; FILE_NOT_FOUND when its name belongs to another one.
[[nodiscard]] DWORD show_own(Disk& disk, WNBD_CONNECTION_INFO& info) noexcept;

}  // namespace wnbd::libwnbd
