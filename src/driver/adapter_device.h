// SPDX-License-Identifier: LGPL-2.1-or-later
// One adapter: the contents of Storport's device extension.
#pragma once

#include <atomic>

#include "base/intrusive_list.h"
#include "driver/ddk/storport.h"
#include "driver/driver.h"
#include "driver/rundown.h"
#include "driver/storport_port.h"
#include "driver/unit_devices.h"
#include "driver/user_memory.h"
#include "engine/adapter.h"
#include "ioctl/control.h"

namespace wnbd::driver {

/// Made in HwFindAdapter, ended in HwFreeAdapterResources. Storport owns the memory.
class AdapterDevice : public ListLink {
  public:
    AdapterDevice(PDEVICE_OBJECT fdo, PDEVICE_OBJECT pdo) noexcept
        : port_(*this),
          control_(adapter_, driver().options, user_memory_, units_),
          fdo_(fdo),
          pdo_(pdo) {}
    AdapterDevice(const AdapterDevice&) = delete;
    AdapterDevice& operator=(const AdapterDevice&) = delete;

    /// Registers the device interface and makes the adapter known. On failure nothing is left to be
    /// undone but the object itself. PASSIVE_LEVEL.
    [[nodiscard]] NTSTATUS start() noexcept;
    /// Makes the adapter reachable for user space. PASSIVE_LEVEL.
    void enable_interface() noexcept;
    /// Ends all disks, lets no new one in, and waits until the service calls under way have left.
    /// PASSIVE_LEVEL; any number of times.
    void end_service() noexcept;
    /// Undoes start(): nobody uses the adapter when it returns. PASSIVE_LEVEL.
    void stop() noexcept;

    /// References, for as long as a device object or a work item leads here.
    [[nodiscard]] Rundown& users() noexcept { return users_; }
    /// Calls from user space.
    [[nodiscard]] Rundown& callers() noexcept { return callers_; }

    [[nodiscard]] engine::Adapter& adapter() noexcept { return adapter_; }
    [[nodiscard]] ioctl::Control& control() noexcept { return control_; }
    [[nodiscard]] StorportPort& port() noexcept { return port_; }
    [[nodiscard]] UnitDevices& units() noexcept { return units_; }
    [[nodiscard]] PDEVICE_OBJECT fdo() const noexcept { return fdo_; }

    /// Whether an address that IOCTL_SCSI_GET_ADDRESS gave is on this adapter.
    [[nodiscard]] bool is_port(UCHAR number) const noexcept {
        return port_number_ == unknown_port || port_number_ == number;
    }
    /// Storport's number of the port. From HwInitialize on.
    void learn_port_number() noexcept;

    /// Removes a disk from a thread that may wait. Any IRQL up to DISPATCH_LEVEL.
    void schedule_removal(std::uint64_t connection_id) noexcept;

    /// What Storport calls the device extension.
    [[nodiscard]] PVOID extension() noexcept { return this; }

  private:
    static VOID NTAPI run_removals(PDEVICE_OBJECT device, PVOID context);
    void remove_scheduled() noexcept;

    engine::Adapter adapter_;
    StorportPort port_;
    UnitDevices units_;
    UserMemory user_memory_;
    ioctl::Control control_;

    PDEVICE_OBJECT const fdo_;
    PDEVICE_OBJECT const pdo_;
    UNICODE_STRING interface_name_{};
    static constexpr ULONG unknown_port = 0xFFFFFFFF;
    ULONG port_number_ = unknown_port;

    Rundown users_;
    Rundown callers_;

    // The work item is made in start(), so that nothing is allocated where there may be no memory.
    PIO_WORKITEM removal_item_ = nullptr;
    std::atomic<bool> removal_queued_{false};
    std::atomic<std::uint64_t> scheduled_[engine::max_disks] = {};  // connection ids; 0: none
};

/// A reference to an adapter that AdapterList found; empty when it found none.
class AdapterReference {
  public:
    explicit AdapterReference(AdapterDevice* adapter) noexcept : adapter_(adapter) {}
    AdapterReference(const AdapterReference&) = delete;
    AdapterReference& operator=(const AdapterReference&) = delete;
    ~AdapterReference() {
        if (adapter_ != nullptr) adapter_->users().release();
    }

    explicit operator bool() const noexcept { return adapter_ != nullptr; }
    AdapterDevice* operator->() const noexcept { return adapter_; }
    AdapterDevice& operator*() const noexcept { return *adapter_; }

  private:
    AdapterDevice* adapter_;
};

}  // namespace wnbd::driver
