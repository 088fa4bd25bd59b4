// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/unit_devices.h"

#include <new>

#include "driver/log.h"
#include "driver/pool.h"

namespace wnbd::driver {

namespace {

// DEVPKEY_Device_InstanceId.
constexpr DEVPROPKEY instance_id_key = {
    {0x78c34fc8, 0x104a, 0x4aca, {0x9e, 0xa4, 0x52, 0x4d, 0x52, 0x99, 0x6e, 0x57}}, 256};

constexpr LCID locale_neutral = 0;

/// Sends an ioctl without input and waits for its fixed-size answer.
template <typename Output>
NTSTATUS ask(PDEVICE_OBJECT device, ULONG code, Output& output) noexcept {
    KEVENT done;
    KeInitializeEvent(&done, NotificationEvent, FALSE);
    IO_STATUS_BLOCK result{};
    PIRP const irp = IoBuildDeviceIoControlRequest(code, device, nullptr, 0, &output, sizeof output,
                                                   FALSE, &done, &result);
    if (irp == nullptr) return STATUS_INSUFFICIENT_RESOURCES;
    NTSTATUS status = IofCallDriver(device, irp);
    if (status == STATUS_PENDING) {
        (void)KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, nullptr);
        status = result.Status;
    }
    if (NT_SUCCESS(status) && result.Information < sizeof output) return STATUS_UNSUCCESSFUL;
    return status;
}

INT disk_number_of(PDEVICE_OBJECT pdo) noexcept {
    // The disk class driver answers, above the unit.
    PDEVICE_OBJECT const top = IoGetAttachedDeviceReference(pdo);
    STORAGE_DEVICE_NUMBER number{};
    const NTSTATUS status = ask(top, IOCTL_STORAGE_GET_DEVICE_NUMBER, number);
    ObfDereferenceObject(top);
    return NT_SUCCESS(status) ? static_cast<INT>(number.DeviceNumber) : -1;
}

void read_instance_id(PDEVICE_OBJECT pdo, std::span<WCHAR> device_id) noexcept {
    ULONG needed = 0;
    DEVPROPTYPE type = 0;
    const NTSTATUS status = IoGetDevicePropertyData(pdo, &instance_id_key, locale_neutral, 0,
                                                    static_cast<ULONG>(device_id.size_bytes()),
                                                    device_id.data(), &needed, &type);
    if (!NT_SUCCESS(status) || type != DEVPROP_TYPE_STRING) device_id.front() = L'\0';
    device_id.back() = L'\0';
}

void forget(UnitDevice* device) noexcept {
    ObfDereferenceObject(device->pdo);
    free_pool(device);
}

}  // namespace

NTSTATUS query_scsi_address(PDEVICE_OBJECT device, SCSI_ADDRESS& address) noexcept {
    return ask(device, IOCTL_SCSI_GET_ADDRESS, address);
}

void UnitDevices::clear() noexcept {
    const platform::MutexGuard guard(mutex_);
    while (UnitDevice* const device = devices_.pop_front())
        forget(device);
}

UnitDevice* UnitDevices::find(PDEVICE_OBJECT pdo) noexcept {
    for (UnitDevice* device = devices_.front(); device != nullptr; device = devices_.after(*device))
        if (device->pdo == pdo) return device;
    return nullptr;
}

void UnitDevices::started(PDEVICE_OBJECT pdo, std::uint8_t target) noexcept {
    // The scan that found it has ended, and the next one waits until this device has been started.
    const std::uint32_t generation = identities_.current(target).generation;
    const platform::MutexGuard guard(mutex_);
    UnitDevice* device = find(pdo);
    if (device == nullptr) {
        void* const memory = allocate_pool(sizeof(UnitDevice));
        if (memory == nullptr) {
            WNBD_LOG(error, "no memory to remember the device of target %u", target);
            return;
        }
        device = ::new (memory) UnitDevice;
        ObfReferenceObject(pdo);
        device->pdo = pdo;
        devices_.push_back(*device);
    }
    device->target = target;
    device->generation = generation;
}

std::uint64_t UnitDevices::removed(PDEVICE_OBJECT pdo) noexcept {
    const platform::MutexGuard guard(mutex_);
    UnitDevice* const device = find(pdo);
    if (device == nullptr) return 0;
    const std::uint64_t connection_id = connection_of(*device);
    IntrusiveList<UnitDevice>::remove(*device);
    forget(device);
    return connection_id;
}

std::uint64_t UnitDevices::connection_of(PDEVICE_OBJECT pdo) noexcept {
    const platform::MutexGuard guard(mutex_);
    const UnitDevice* const device = find(pdo);
    return device != nullptr ? connection_of(*device) : 0;
}

std::uint64_t UnitDevices::connection_of(const UnitDevice& device) noexcept {
    const UnitIdentities::Identity identity = identities_.current(device.target);
    return identity.generation == device.generation ? identity.connection_id : 0;
}

PDEVICE_OBJECT UnitDevices::device_of(std::uint8_t target, std::uint64_t connection_id) noexcept {
    const platform::MutexGuard guard(mutex_);
    for (UnitDevice* device = devices_.front(); device != nullptr;
         device = devices_.after(*device)) {
        if (device->target != target || connection_of(*device) != connection_id) continue;
        ObfReferenceObject(device->pdo);
        return device->pdo;
    }
    return nullptr;
}

// Asked each time: the number may be given long after the device was started, and it may change.
void UnitDevices::locate(std::uint8_t target, std::uint64_t connection_id, INT& disk_number,
                         std::span<WCHAR> device_id) noexcept {
    disk_number = -1;
    device_id.front() = L'\0';
    PDEVICE_OBJECT const pdo = device_of(target, connection_id);
    if (pdo == nullptr) return;
    disk_number = disk_number_of(pdo);
    read_instance_id(pdo, device_id);
    ObfDereferenceObject(pdo);
}

}  // namespace wnbd::driver
