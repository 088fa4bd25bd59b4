// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/adapter_device.h"

#include "driver/log.h"
#include "wnbd_ioctl.h"

namespace wnbd::driver {

NTSTATUS AdapterDevice::start() noexcept {
    adapter_.initialize(port_, &driver().options);
    driver().options.end_pause();  // of new mappings: what it was for has happened
    units_.initialize();
    users_.initialize();
    callers_.initialize();

    removal_item_ = IoAllocateWorkItem(fdo_);
    if (removal_item_ == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    const NTSTATUS status = IoRegisterDeviceInterface(pdo_, &WNBD_GUID, nullptr, &interface_name_);
    if (!NT_SUCCESS(status)) {
        IoFreeWorkItem(removal_item_);
        removal_item_ = nullptr;
        return status;
    }
    driver().adapters.add(*this);
    return STATUS_SUCCESS;
}

void AdapterDevice::enable_interface() noexcept {
    const NTSTATUS status = IoSetDeviceInterfaceState(&interface_name_, TRUE);
    if (!NT_SUCCESS(status))
        WNBD_LOG(error, "user space can't reach the adapter: 0x%lx",
                 static_cast<unsigned long>(status));
}

void AdapterDevice::learn_port_number() noexcept {
    STOR_ADDRESS address{};
    address.Type = STOR_ADDRESS_TYPE_BTL8;
    address.AddressLength = STOR_ADDR_BTL8_ADDRESS_LENGTH;
    const ULONG status =
        StorPortExtendedFunction(ExtFunctionGetSystemPortNumber, extension(), &address);
    if (status == STOR_STATUS_SUCCESS) port_number_ = address.Port;
}

// Removing the disks tells those who wait in FETCH_REQ to leave, so the wait at the end is short.
void AdapterDevice::end_service() noexcept {
    callers_.close();
    adapter_.retire();
    callers_.wait();
}

void AdapterDevice::stop() noexcept {
    end_service();
    (void)driver().adapters.remove(*this);
    users_.close();
    users_.wait();
    IoFreeWorkItem(removal_item_);
    units_.clear();
    (void)IoSetDeviceInterfaceState(&interface_name_, FALSE);
    RtlFreeUnicodeString(&interface_name_);
}

// One work item serves all units: it is queued when it is not queued yet, and it looks for new
// entries only after it has said that it may be queued again. Each time it is queued it takes a
// reference, so that stop() does not free it before it has run.
void AdapterDevice::schedule_removal(std::uint64_t connection_id) noexcept {
    const engine::UnitReference unit = adapter_.find(connection_id);
    if (!unit) return;
    scheduled_[adapter_.target_of(*unit)].store(connection_id);
    if (!users_.acquire()) return;  // stop() removes all disks
    if (removal_queued_.exchange(true)) {
        users_.release();
        return;
    }
    IoQueueWorkItem(removal_item_, run_removals, DelayedWorkQueue, this);
}

VOID NTAPI AdapterDevice::run_removals(PDEVICE_OBJECT, PVOID context) {
    auto& self = *static_cast<AdapterDevice*>(context);
    self.removal_queued_.store(false);
    self.remove_scheduled();
    self.users_.release();
}

void AdapterDevice::remove_scheduled() noexcept {
    for (std::atomic<std::uint64_t>& entry : scheduled_) {
        const std::uint64_t connection_id = entry.exchange(0);
        if (connection_id != 0) (void)adapter_.remove(connection_id);
    }
}

}  // namespace wnbd::driver
