// SPDX-License-Identifier: LGPL-2.1-or-later
// Ioctls of the adapter: service IRPs to the miniport, IOCTL_SCSI_MINIPORT, and the lab's own.
#include <algorithm>
#include <cstring>

#include "lab/ddk/disk_ioctls.h"
#include "lab/etw/tracing.h"
#include "lab/storport/control.h"
#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

/// From StorPortCompleteServiceIrp on the IRP is not ours to look at: pending is all that is known
/// here.
NTSTATUS serve(void* context, PIRP irp) {
    auto& device = *static_cast<FunctionalDevice*>(context);
    device.driver->hw.HwProcessServiceRequest(device.hw_extension, irp);
    return STATUS_PENDING;
}

NTSTATUS service_request(FunctionalDevice& device, PIRP irp) {
    if (!device.adapter || device.driver->hw.HwProcessServiceRequest == nullptr)
        return complete(irp, STATUS_DEVICE_NOT_READY);
    return host().run_blocking(irp, true, serve, &device);
}

NTSTATUS miniport_ioctl(void* context, PIRP irp) {
    auto& device = *static_cast<FunctionalDevice*>(context);
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    const std::shared_ptr<Adapter> adapter = device.adapter;
    if (!adapter) return complete(irp, STATUS_DEVICE_NOT_READY);
    if (parameters.InputBufferLength < sizeof(SRB_IO_CONTROL))
        return complete(irp, STATUS_INVALID_PARAMETER);
    auto* const head = static_cast<SRB_IO_CONTROL*>(irp->AssociatedIrp.SystemBuffer);
    const ULONG length = std::max(parameters.InputBufferLength, parameters.OutputBufferLength);
    if (head->HeaderLength != sizeof *head || head->Length > length - sizeof *head)
        return complete(irp, STATUS_INVALID_PARAMETER);
    std::vector<std::uint8_t> data(length);
    std::memcpy(data.data(), head, parameters.InputBufferLength);
    Request request;
    request.function = SRB_FUNCTION_IO_CONTROL;
    request.direction = Direction::In;
    request.data = data.data();
    request.data_length = length;
    request.timeout_seconds = head->Timeout;
    adapter->execute(request);
    if (request.srb_status != SRB_STATUS_SUCCESS)
        return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    const ULONG back = std::min<ULONG>(parameters.OutputBufferLength, request.transferred);
    std::memcpy(irp->AssociatedIrp.SystemBuffer, data.data(), back);
    return complete(irp, STATUS_SUCCESS, back);
}

template <typename T>
NTSTATUS answer(PIRP irp, const T& value) {
    if (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.OutputBufferLength <
        sizeof value)
        return complete(irp, STATUS_BUFFER_TOO_SMALL);
    std::memcpy(irp->AssociatedIrp.SystemBuffer, &value, sizeof value);
    return complete(irp, STATUS_SUCCESS, sizeof value);
}

template <typename T>
bool argument(PIRP irp, T& value) {
    if (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.InputBufferLength <
        sizeof value)
        return false;
    std::memcpy(&value, irp->AssociatedIrp.SystemBuffer, sizeof value);
    return true;
}

NTSTATUS list_units(FunctionalDevice& device, PIRP irp) {
    const std::size_t room =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.OutputBufferLength /
        sizeof(control::UnitEntry);
    std::vector<control::UnitEntry> entries;
    for (const UnitState& unit : units(device.self)) {
        control::UnitEntry entry{};
        const std::u16string path = unit.identity.path();
        std::copy_n(path.begin(), std::min<std::size_t>(path.size(), control::kNameChars - 1),
                    entry.path);
        entry.bus = unit.identity.address.path;
        entry.target = unit.identity.address.target;
        entry.lun = unit.identity.address.lun;
        entry.removed = unit.removed;
        entries.push_back(entry);
    }
    if (entries.size() > room) return complete(irp, STATUS_BUFFER_TOO_SMALL);
    const std::size_t bytes = entries.size() * sizeof(control::UnitEntry);
    if (bytes != 0) std::memcpy(irp->AssociatedIrp.SystemBuffer, entries.data(), bytes);
    return complete(irp, STATUS_SUCCESS, bytes);
}

NTSTATUS remove_unit(FunctionalDevice& device, PIRP irp) {
    control::UnitName name;
    if (!argument(irp, name)) return complete(irp, STATUS_INVALID_PARAMETER);
    const char16_t* const end = std::find(name.path, name.path + control::kNameChars, u'\0');
    const RemoveOutcome outcome =
        query_and_remove(device.self, std::u16string_view(name.path, end));
    return answer(irp, control::Answer{static_cast<std::uint32_t>(outcome), 0});
}

NTSTATUS inject_reset(FunctionalDevice& device, PIRP irp) {
    control::Reset reset{};
    if (!argument(irp, reset)) return complete(irp, STATUS_INVALID_PARAMETER);
    const std::shared_ptr<Adapter> holder = device.adapter;
    if (!holder) return complete(irp, STATUS_DEVICE_NOT_READY);
    Adapter& adapter = *holder;
    const Address address{reset.path, reset.target, reset.lun};
    control::Answer result{control::kAnswerDone, SRB_STATUS_INVALID_REQUEST};
    switch (reset.function) {
        case SRB_FUNCTION_FLUSH: result.srb_status = flush(adapter, address); break;
        case SRB_FUNCTION_SHUTDOWN: result.srb_status = shutdown(adapter, address); break;
        case SRB_FUNCTION_RESET_LOGICAL_UNIT:
        case SRB_FUNCTION_RESET_DEVICE:
        case SRB_FUNCTION_RESET_BUS:
            result.srb_status = adapter.reset(reset.function, address);
            break;
        case SRB_FUNCTION_ABORT_COMMAND: {
            const auto status = adapter.abort_one(address, now_ms());
            if (!status) result.result = control::kAnswerNoSuchDevice;
            result.srb_status = status.value_or(SRB_STATUS_NO_DEVICE);
            break;
        }
        default: result.result = control::kAnswerFailed; break;
    }
    return answer(irp, result);
}

NTSTATUS give_state(FunctionalDevice& device, PIRP irp) {
    control::State state{};
    state.violations = violation_count();
    if (const std::shared_ptr<Adapter> adapter = device.adapter) {
        const PortCounters now = adapter->counters();
        state.issued = now.issued;
        state.completed = now.completed;
        state.timed_out = now.timed_out;
        state.busy = now.busy;
        state.held_back = now.held_back;
        state.resets = now.resets;
        state.aborts = now.aborts;
        state.outstanding = now.outstanding;
        state.outstanding_max = now.outstanding_max;
        state.unit_outstanding_max = now.unit_outstanding_max;
        state.started = 1;
    }
    return answer(irp, state);
}

NTSTATUS control_trace(PIRP irp, bool start) {
    control::Trace trace{};
    if (!argument(irp, trace)) return complete(irp, STATUS_INVALID_PARAMETER);
    trace.name[sizeof trace.name - 1] = '\0';
    etw::Session session{trace.name, {}, trace.level, trace.any, trace.all};
    static_assert(sizeof session.provider == sizeof trace.provider);
    std::memcpy(&session.provider, trace.provider, sizeof trace.provider);
    if (start) etw::start_session(session);
    const bool done = start || etw::stop_session(session.name);
    return complete(irp, done ? STATUS_SUCCESS : STATUS_NOT_FOUND);
}

NTSTATUS lab_control(void* context, PIRP irp) {
    auto& device = *static_cast<FunctionalDevice*>(context);
    switch (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.IoControlCode) {
        case control::kListUnits: return list_units(device, irp);
        case control::kRemoveUnit: return remove_unit(device, irp);
        case control::kReset: return inject_reset(device, irp);
        case control::kState: return give_state(device, irp);
        case control::kStartTrace: return control_trace(irp, true);
        case control::kStopTrace: return control_trace(irp, false);
        case control::kDisable:
            return answer(
                irp, control::Answer{static_cast<std::uint32_t>(disable_adapter(device.self)), 0});
        case control::kEnable: {
            const bool started = NT_SUCCESS(enable_adapter(device.self));
            return answer(
                irp, control::Answer{started ? control::kAnswerDone : control::kAnswerFailed, 0});
        }
        case control::kSurprise:
            surprise_adapter(device.self);
            return complete(irp, STATUS_SUCCESS);
        case control::kRescan:
            IoInvalidateDeviceRelations(device.pdo, BusRelations);
            return complete(irp, STATUS_SUCCESS);
        default: return complete(irp, STATUS_INVALID_DEVICE_REQUEST);
    }
}

}  // namespace

NTSTATUS functional_control(FunctionalDevice& device, PIRP irp) {
    switch (IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.IoControlCode) {
        case IOCTL_MINIPORT_PROCESS_SERVICE_IRP: return service_request(device, irp);
        case IOCTL_SCSI_MINIPORT: return host().run_blocking(irp, false, miniport_ioctl, &device);
        case IOCTL_SCSI_RESCAN_BUS:
            IoInvalidateDeviceRelations(device.pdo, BusRelations);
            return complete(irp, STATUS_SUCCESS);
        default: return host().run_blocking(irp, false, lab_control, &device);
    }
}

}  // namespace wnbd::lab
