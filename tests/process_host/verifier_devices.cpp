// SPDX-License-Identifier: LGPL-2.1-or-later
// The rules about devices, their names and interfaces, and what PnP hears from a bus driver.
#include "lab/process/objects.h"
#include "lab/process/pnp.h"
#include "tests/process_host/check.h"
#include "tests/process_host/verifier_cases.h"

namespace wnbd::test {

namespace process = lab::process;

namespace {

constexpr ULONG tag = 0x20796F54;

PDEVICE_OBJECT make_device(PDRIVER_OBJECT driver) {
    PDEVICE_OBJECT device = nullptr;
    IoCreateDevice(driver, 8, nullptr, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    return device;
}

/// A driver object for the length of one case.
class ToyDriver {
  public:
    ToyDriver() : driver_(process::create_driver_object(L"toy", nullptr, 0)) {}
    ~ToyDriver() { process::free_driver_object(driver_); }
    ToyDriver(const ToyDriver&) = delete;
    ToyDriver& operator=(const ToyDriver&) = delete;
    operator PDRIVER_OBJECT() const { return driver_; }
    PDRIVER_OBJECT operator->() const { return driver_; }

  private:
    PDRIVER_OBJECT driver_;
};

/// A bus driver with one child, which has no name unless `names_child`.
struct Bus {
    PDEVICE_OBJECT self = nullptr;
    PDEVICE_OBJECT lower = nullptr;
    PDEVICE_OBJECT child = nullptr;
    bool names_child = false;
};
Bus bus;

NTSTATUS child_id(PIRP irp) {
    if (!bus.names_child) return complete(irp, irp->IoStatus.Status);
    static constexpr WCHAR id[] = L"TOY\\Child\0";
    auto* const copy = static_cast<PWSTR>(ExAllocatePoolWithTag(PagedPool, sizeof id, tag));
    RtlCopyMemory(copy, id, sizeof id);
    return complete(irp, STATUS_SUCCESS, reinterpret_cast<ULONG_PTR>(copy));
}

NTSTATUS child_pnp(PIRP irp) {
    switch (IoGetCurrentIrpStackLocation(irp)->MinorFunction) {
        case IRP_MN_QUERY_ID: return child_id(irp);
        case IRP_MN_REMOVE_DEVICE: {
            const NTSTATUS status = complete(irp, STATUS_SUCCESS);
            IoDeleteDevice(bus.child);
            return status;
        }
        default: return complete(irp, STATUS_SUCCESS);
    }
}

NTSTATUS remove_bus(PIRP irp) {
    IoSkipCurrentIrpStackLocation(irp);
    const NTSTATUS status = IoCallDriver(bus.lower, irp);
    IoDetachDevice(bus.lower);
    IoDeleteDevice(bus.self);
    return status;
}

NTSTATUS NTAPI bus_pnp(PDEVICE_OBJECT device, PIRP irp) {
    if (device == bus.child) return child_pnp(irp);
    PIO_STACK_LOCATION const location = IoGetCurrentIrpStackLocation(irp);
    if (location->MinorFunction == IRP_MN_REMOVE_DEVICE) return remove_bus(irp);
    if (location->MinorFunction == IRP_MN_QUERY_DEVICE_RELATIONS) {
        auto* const relations = static_cast<DEVICE_RELATIONS*>(
            ExAllocatePoolWithTag(PagedPool, sizeof(DEVICE_RELATIONS), tag));
        relations->Count = 1;
        relations->Objects[0] = bus.child;
        ObReferenceObject(bus.child);
        return complete(irp, STATUS_SUCCESS, reinterpret_cast<ULONG_PTR>(relations));
    }
    IoSkipCurrentIrpStackLocation(irp);
    return IoCallDriver(bus.lower, irp);
}

NTSTATUS NTAPI add_bus(PDRIVER_OBJECT driver, PDEVICE_OBJECT pdo) {
    bus.self = make_device(driver);
    bus.child = make_device(driver);
    bus.lower = IoAttachDeviceToDeviceStack(bus.self, pdo);
    return STATUS_SUCCESS;
}

/// The whole life of an adapter with one child.
void run_bus(bool names_child) {
    const ToyDriver driver;
    driver->DriverExtension->AddDevice = add_bus;
    driver->MajorFunction[IRP_MJ_PNP] = bus_pnp;
    bus = Bus{.names_child = names_child};
    NTSTATUS status = STATUS_SUCCESS;
    PDEVICE_OBJECT const root = process::add_root_device(driver, L"ROOT\\TOY\\0000", status);
    if (!claim(root != nullptr, "the toy bus starts: %08lx", static_cast<unsigned long>(status)))
        return;
    claim(process::children_of(root).size() == 1, "PnP knows the child");
    claim(NT_SUCCESS(process::remove_root_device(root, false)), "the toy bus can be removed");
}

void leave_an_interface() {
    const ToyDriver driver;
    driver->DriverExtension->AddDevice = [](PDRIVER_OBJECT, PDEVICE_OBJECT)
                                             NTAPI -> NTSTATUS { return STATUS_SUCCESS; };
    NTSTATUS status = STATUS_SUCCESS;
    PDEVICE_OBJECT const root = process::add_root_device(driver, L"ROOT\\TOY\\0001", status);
    static const GUID interface_class{1, 2, 3, {4}};
    UNICODE_STRING link{};
    IoRegisterDeviceInterface(root, &interface_class, nullptr, &link);
    IoSetDeviceInterfaceState(&link, TRUE);
    process::check_interface_balance();
    RtlFreeUnicodeString(&link);
    process::remove_root_device(root, false);
}

}  // namespace

void test_devices() {
    expect("a bus and its child", nullptr, [] { run_bus(true); });
    expect("a child without a name", "pnp-id", [] { run_bus(false); });
    expect("nothing to detach", "device-detach", [] {
        const ToyDriver driver;
        PDEVICE_OBJECT const device = make_device(driver);
        IoDetachDevice(device);
        IoDeleteDevice(device);
    });
    expect("a device deleted twice", "device-delete", [] {
        const ToyDriver driver;
        PDEVICE_OBJECT const device = make_device(driver);
        IoDeleteDevice(device);
        IoDeleteDevice(device);
    });
    expect("a device deleted under another", "device-delete", [] {
        const ToyDriver driver;
        PDEVICE_OBJECT const lower = make_device(driver);
        PDEVICE_OBJECT const upper = make_device(driver);
        IoAttachDeviceToDeviceStack(upper, lower);
        IoDeleteDevice(lower);
        IoDeleteDevice(upper);
    });
    expect("a symbolic link never deleted", "link-leak", [] {
        UNICODE_STRING link, target;
        RtlInitUnicodeString(&link, L"\\DosDevices\\Toy");
        RtlInitUnicodeString(&target, L"\\Device\\Toy");
        IoCreateSymbolicLink(&link, &target);
        process::check_object_balance();
    });
    expect("a device interface left enabled", "interface-leak", leave_an_interface);
    expect("a device never deleted", "device-leak", [] {
        PDRIVER_OBJECT const driver = process::create_driver_object(L"x", nullptr, 0);
        PDEVICE_OBJECT device = nullptr;
        IoCreateDevice(driver, 8, nullptr, FILE_DEVICE_DISK, 0, FALSE, &device);
        process::check_object_balance();
        IoDeleteDevice(device);
        process::free_driver_object(driver);
    });
    expect("an interface of something that is no PDO", "not-a-pdo", [] {
        static DEVICE_OBJECT device;
        static const GUID interface_class{};
        UNICODE_STRING link;
        IoRegisterDeviceInterface(&device, &interface_class, nullptr, &link);
    });
}

}  // namespace wnbd::test
