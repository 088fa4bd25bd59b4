// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/pnp.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/process/irp.h"
#include "lab/process/objects.h"

namespace wnbd::lab::process {
namespace {

using kernel::violation;

struct Node {
    PDEVICE_OBJECT pdo;
    PDEVICE_OBJECT parent;  ///< nullptr: a root device
    std::wstring device_id;
    std::wstring instance_id;
    bool started = false;
    bool removed =
        false;  ///< ejected, but still reported: it stays until the bus reports it missing
};

struct PnpManager {
    os::Mutex requests;  ///< one PnP request at a time; held over calls into drivers
    os::Mutex mutex;     ///< guards nodes
    std::vector<Node> nodes;
    std::atomic<bool> scan_queued{false};        ///< one is asked for and has not begun
    std::atomic<std::uint32_t> scans_wanted{0};  ///< asked for and not ended
    std::atomic<bool> bus_changes_ignored{false};
    PDRIVER_OBJECT root_driver = nullptr;
};
PnpManager& manager() {
    static PnpManager* const instance = new PnpManager;
    return *instance;
}

struct Answer {
    NTSTATUS status;
    ULONG_PTR information;
};

template <typename Prepare>
Answer send_pnp(PDEVICE_OBJECT pdo, UCHAR minor, Prepare&& prepare) {
    PDEVICE_OBJECT const top = IoGetAttachedDeviceReference(pdo);
    IrpRecord* const record = allocate_irp(top->StackSize, false);
    if (record == nullptr) {
        ObfDereferenceObject(top);
        return {STATUS_INSUFFICIENT_RESOURCES, 0};
    }
    // A PnP request starts as not supported, and whoever handles it says otherwise.
    record->irp.IoStatus.Status = STATUS_NOT_SUPPORTED;
    record->irp.RequestorMode = KernelMode;
    prepare(*first_location(*record, IRP_MJ_PNP, minor));
    const NTSTATUS status = send_and_wait(top, *record);
    const Answer answer{status, record->irp.IoStatus.Information};
    free_irp(record);
    ObfDereferenceObject(top);
    return answer;
}

NTSTATUS send_simple(PDEVICE_OBJECT pdo, UCHAR minor) {
    return send_pnp(pdo, minor, [](IO_STACK_LOCATION&) {}).status;
}

std::wstring query_id(PDEVICE_OBJECT pdo, BUS_QUERY_ID_TYPE type) {
    const Answer answer = send_pnp(pdo, IRP_MN_QUERY_ID, [type](IO_STACK_LOCATION& location) {
        location.Parameters.QueryId.IdType = type;
    });
    if (!NT_SUCCESS(answer.status) || answer.information == 0) return {};
    auto* const text = reinterpret_cast<wchar_t*>(answer.information);
    std::wstring id(text);
    ExFreePool(text);
    return id;
}

NTSTATUS query_capabilities(PDEVICE_OBJECT pdo, DEVICE_CAPABILITIES& capabilities) {
    RtlZeroMemory(&capabilities, sizeof capabilities);
    capabilities.Size = sizeof capabilities;
    capabilities.Version = 1;
    capabilities.Address = capabilities.UINumber = 0xFFFFFFFF;
    return send_pnp(pdo, IRP_MN_QUERY_CAPABILITIES,
                    [&capabilities](IO_STACK_LOCATION& location) {
                        location.Parameters.DeviceCapabilities.Capabilities = &capabilities;
                    })
        .status;
}

NTSTATUS start(PDEVICE_OBJECT pdo) {
    return send_pnp(pdo, IRP_MN_START_DEVICE,
                    [](IO_STACK_LOCATION& location) {
                        location.Parameters.StartDevice.AllocatedResources = nullptr;
                        location.Parameters.StartDevice.AllocatedResourcesTranslated = nullptr;
                    })
        .status;
}

NTSTATUS NTAPI root_pnp(PDEVICE_OBJECT, PIRP irp) {
    const UCHAR minor = IoGetCurrentIrpStackLocation(irp)->MinorFunction;
    NTSTATUS status = irp->IoStatus.Status;
    switch (minor) {
        case IRP_MN_START_DEVICE:
        case IRP_MN_QUERY_STOP_DEVICE:
        case IRP_MN_CANCEL_STOP_DEVICE:
        case IRP_MN_STOP_DEVICE:
        case IRP_MN_QUERY_REMOVE_DEVICE:
        case IRP_MN_CANCEL_REMOVE_DEVICE:
        case IRP_MN_SURPRISE_REMOVAL:
        case IRP_MN_REMOVE_DEVICE:
        case IRP_MN_QUERY_CAPABILITIES: status = STATUS_SUCCESS; break;
        default: break;
    }
    irp->IoStatus.Status = status;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

void forget(PDEVICE_OBJECT pdo) {
    const std::lock_guard guard(manager().mutex);
    std::erase_if(manager().nodes, [pdo](const Node& node) { return node.pdo == pdo; });
}

/// A device appeared: names it, asks what it can do, starts it. Owns the reference
/// QUERY_DEVICE_RELATIONS gave.
void add_child(PDEVICE_OBJECT root, PDEVICE_OBJECT pdo) {
    Node node{pdo, root, query_id(pdo, BusQueryDeviceID), query_id(pdo, BusQueryInstanceID)};
    if (node.device_id.empty()) violation("pnp-id", "a child has no device id");
    query_id(pdo, BusQueryHardwareIDs);
    query_id(pdo, BusQueryCompatibleIDs);
    {
        const std::lock_guard guard(manager().mutex);
        manager().nodes.push_back(node);
    }
    DEVICE_CAPABILITIES capabilities;
    query_capabilities(pdo, capabilities);
    const bool started = NT_SUCCESS(start(pdo));
    const std::lock_guard guard(manager().mutex);
    for (Node& each : manager().nodes) {
        if (each.pdo == pdo) each.started = started;
    }
}

void remove_child(PDEVICE_OBJECT pdo) {
    send_simple(pdo, IRP_MN_REMOVE_DEVICE);
    forget(pdo);
    ObfDereferenceObject(pdo);
}

std::vector<PDEVICE_OBJECT> child_pdos(PDEVICE_OBJECT root) {
    std::vector<PDEVICE_OBJECT> found;
    const std::lock_guard guard(manager().mutex);
    for (const Node& node : manager().nodes) {
        if (node.parent == root) found.push_back(node.pdo);
    }
    return found;
}

bool was_removed(PDEVICE_OBJECT pdo) {
    const std::lock_guard guard(manager().mutex);
    return std::any_of(manager().nodes.begin(), manager().nodes.end(),
                       [pdo](const Node& node) { return node.pdo == pdo && node.removed; });
}

void scan_locked(PDEVICE_OBJECT root) {
    const Answer answer =
        send_pnp(root, IRP_MN_QUERY_DEVICE_RELATIONS, [](IO_STACK_LOCATION& location) {
            location.Parameters.QueryDeviceRelations.Type = BusRelations;
        });
    if (!NT_SUCCESS(answer.status)) return;
    std::vector<PDEVICE_OBJECT> reported;
    if (auto* const relations = reinterpret_cast<DEVICE_RELATIONS*>(answer.information);
        relations != nullptr) {
        reported.assign(relations->Objects, relations->Objects + relations->Count);
        ExFreePool(relations);
    }
    const std::vector<PDEVICE_OBJECT> known = child_pdos(root);
    const auto among = [](const std::vector<PDEVICE_OBJECT>& list, PDEVICE_OBJECT pdo) {
        return std::find(list.begin(), list.end(), pdo) != list.end();
    };
    for (PDEVICE_OBJECT const pdo : known) {
        if (among(reported, pdo)) continue;
        if (!was_removed(pdo)) send_simple(pdo, IRP_MN_SURPRISE_REMOVAL);
        remove_child(pdo);
    }
    for (PDEVICE_OBJECT const pdo : reported) {
        if (among(known, pdo)) {
            ObfDereferenceObject(pdo);
        } else {
            add_child(root, pdo);
        }
    }
}

bool is_root(PDEVICE_OBJECT pdo) {
    const std::lock_guard guard(manager().mutex);
    return std::any_of(manager().nodes.begin(), manager().nodes.end(), [pdo](const Node& node) {
        return node.pdo == pdo && node.parent == nullptr && node.started;
    });
}

}  // namespace

PDEVICE_OBJECT add_root_device(PDRIVER_OBJECT driver, const std::wstring& instance_path,
                               NTSTATUS& status) {
    PnpManager& all = manager();
    const std::lock_guard requests(all.requests);
    if (all.root_driver == nullptr) {
        all.root_driver = create_driver_object(L"lab-root", nullptr, 0);
        all.root_driver->MajorFunction[IRP_MJ_PNP] = root_pnp;
    }
    PDEVICE_OBJECT pdo = nullptr;
    status = IoCreateDevice(all.root_driver, 0, nullptr, FILE_DEVICE_CONTROLLER,
                            FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &pdo);
    if (!NT_SUCCESS(status)) return nullptr;
    pdo->Flags &= ~static_cast<ULONG>(DO_DEVICE_INITIALIZING);
    const std::size_t split = instance_path.rfind(L'\\');
    {
        const std::lock_guard guard(all.mutex);
        all.nodes.push_back(
            {pdo, nullptr, instance_path.substr(0, split), instance_path.substr(split + 1)});
    }
    {
        const kernel::CallbackGuard guard("AddDevice");
        status = driver->DriverExtension->AddDevice(driver, pdo);
    }
    if (NT_SUCCESS(status)) {
        status = start(pdo);
        if (NT_SUCCESS(status)) {
            {
                const std::lock_guard guard(all.mutex);
                for (Node& node : all.nodes)
                    node.started |= node.pdo == pdo;
            }
            scan_locked(pdo);
            return pdo;
        }
        send_simple(pdo, IRP_MN_REMOVE_DEVICE);
    }
    forget(pdo);
    IoDeleteDevice(pdo);
    return nullptr;
}

NTSTATUS eject_child(PDEVICE_OBJECT child) {
    const std::lock_guard requests(manager().requests);
    const NTSTATUS status = send_simple(child, IRP_MN_QUERY_REMOVE_DEVICE);
    if (!NT_SUCCESS(status)) {
        send_simple(child, IRP_MN_CANCEL_REMOVE_DEVICE);
        return status;
    }
    send_simple(child, IRP_MN_REMOVE_DEVICE);
    const std::lock_guard guard(manager().mutex);
    for (Node& node : manager().nodes) {
        if (node.pdo != child) continue;
        node.started = false;
        node.removed = true;
    }
    return STATUS_SUCCESS;
}

void surprise(PDEVICE_OBJECT pdo) {
    const std::lock_guard requests(manager().requests);
    send_simple(pdo, IRP_MN_SURPRISE_REMOVAL);
}

NTSTATUS capabilities_of(PDEVICE_OBJECT pdo, DEVICE_CAPABILITIES& capabilities) {
    const std::lock_guard requests(manager().requests);
    return query_capabilities(pdo, capabilities);
}

NTSTATUS remove_root_device(PDEVICE_OBJECT pdo, bool surprise) {
    const std::lock_guard requests(manager().requests);
    std::vector<PDEVICE_OBJECT> children = child_pdos(pdo);
    for (PDEVICE_OBJECT& child : children) {
        // Ejected before, and the adapter's end is its end: REMOVE alone.
        if (was_removed(child)) remove_child(std::exchange(child, nullptr));
    }
    std::erase(children, nullptr);
    if (surprise) {
        for (PDEVICE_OBJECT const child : children)
            send_simple(child, IRP_MN_SURPRISE_REMOVAL);
        send_simple(pdo, IRP_MN_SURPRISE_REMOVAL);
    } else {
        std::vector<PDEVICE_OBJECT> asked;
        NTSTATUS status = STATUS_SUCCESS;
        for (PDEVICE_OBJECT const child : children) {
            asked.push_back(child);
            status = send_simple(child, IRP_MN_QUERY_REMOVE_DEVICE);
            if (!NT_SUCCESS(status)) break;
        }
        if (NT_SUCCESS(status)) {
            asked.push_back(pdo);
            status = send_simple(pdo, IRP_MN_QUERY_REMOVE_DEVICE);
        }
        if (!NT_SUCCESS(status)) {
            for (PDEVICE_OBJECT const device : asked)
                send_simple(device, IRP_MN_CANCEL_REMOVE_DEVICE);
            return status;
        }
    }
    for (PDEVICE_OBJECT const child : children)
        remove_child(child);
    send_simple(pdo, IRP_MN_REMOVE_DEVICE);
    if (pdo->AttachedDevice != nullptr)
        violation("device-detach", "after REMOVE a device is still attached to the PDO");
    forget(pdo);
    IoDeleteDevice(pdo);
    return STATUS_SUCCESS;
}

std::vector<Child> children_of(PDEVICE_OBJECT root) {
    std::vector<Child> found;
    const std::lock_guard guard(manager().mutex);
    for (const Node& node : manager().nodes) {
        if (node.parent == root && node.started)
            found.push_back({node.pdo, node.device_id, node.instance_id});
    }
    return found;
}

void rescan(PDEVICE_OBJECT root) {
    const std::lock_guard requests(manager().requests);
    if (is_root(root)) scan_locked(root);
}

bool wait_for_scans(std::uint32_t timeout_ms) {
    for (std::uint32_t waited_ms = 0; waited_ms <= timeout_ms; ++waited_ms) {
        if (manager().scans_wanted.load() == 0) return true;
        os::sleep_ms(1);
    }
    return false;
}

void ignore_bus_changes(bool ignore) {
    manager().bus_changes_ignored.store(ignore);
}

std::wstring instance_path_of(PDEVICE_OBJECT pdo) {
    const std::lock_guard guard(manager().mutex);
    for (const Node& node : manager().nodes) {
        if (node.pdo == pdo) return node.device_id + L"\\" + node.instance_id;
    }
    return {};
}

}  // namespace wnbd::lab::process

using namespace wnbd::lab;
using namespace wnbd::lab::process;

extern "C" {

VOID NTAPI lab_IoInvalidateDeviceRelations(PDEVICE_OBJECT pdo, DEVICE_RELATION_TYPE type) {
    kernel::require_irql_at_most(DISPATCH_LEVEL, "IoInvalidateDeviceRelations");
    if (type != BusRelations || manager().bus_changes_ignored.load()) return;
    // A scan that has not begun yet will see this change too.
    if (manager().scan_queued.exchange(true)) return;
    manager().scans_wanted.fetch_add(1);
    const bool queued = kernel::queue_worker(
        [](void* context) {
            manager().scan_queued.store(false);
            rescan(static_cast<PDEVICE_OBJECT>(context));
            manager().scans_wanted.fetch_sub(1);
        },
        pdo);
    if (!queued) kernel::fatal_violation("worker", "no worker thread can be started");
}

}  // extern "C"
