// SPDX-License-Identifier: LGPL-2.1-or-later
// Calls from user space: Storport hands over IOCTL_MINIPORT_PROCESS_SERVICE_IRP at PASSIVE_LEVEL,
// in the caller's thread. A call that waits (FETCH_REQ) waits here.
#include "driver/adapter_device.h"
#include "driver/call_log.h"
#include "driver/entry_points.h"

namespace wnbd::driver {

namespace {

/// The system copies as many bytes as Information says to any address it was given, also when the
/// caller said that there is no room: only who gives no address is told a size that way.
ioctl::Completion within_buffer(const IRP& irp, const ioctl::Call& call,
                                const ioctl::Completion& completion) noexcept {
    const bool is_copied = irp.UserBuffer != nullptr;
    if (is_copied && completion.information > call.output_length) return {nt::buffer_overflow, 0};
    return completion;
}

ioctl::Completion run(AdapterDevice& device, PIRP irp) noexcept {
    const IO_STACK_LOCATION* const stack = IoGetCurrentIrpStackLocation(irp);
    const auto& parameters = stack->Parameters.DeviceIoControl;
    if (stack->MajorFunction != IRP_MJ_DEVICE_CONTROL ||
        parameters.IoControlCode != IOCTL_MINIPORT_PROCESS_SERVICE_IRP)
        return {nt::invalid_device_request, 0};
    ioctl::Call call;
    call.buffer = static_cast<std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
    call.input_length = parameters.InputBufferLength;
    call.output_length = parameters.OutputBufferLength;
    call.process_id = static_cast<INT>(IoGetRequestorProcessId(irp));
    call.handle = stack->FileObject;
    const std::uint32_t command = ioctl::Control::command_of(call);
    const ioctl::Completion completion = within_buffer(*irp, call, device.control().handle(call));
    log_call(command, call, completion);
    return completion;
}

}  // namespace

// The call counts until its IRP is completed, and the adapter does not go before it has ended.
// After the completion only our own count is touched, which free_adapter_resources() waits for.
VOID process_service_request(PVOID extension, PVOID service_irp) {
    auto& device = *static_cast<AdapterDevice*>(extension);
    auto* const irp = static_cast<PIRP>(service_irp);
    const bool admitted = device.callers().acquire();
    const ioctl::Completion completion =
        admitted ? run(device, irp) : ioctl::Completion{nt::shutdown_in_progress, 0};
    irp->IoStatus.Status = completion.status;
    irp->IoStatus.Information = completion.information;
    (void)StorPortExtendedFunction(ExtFunctionCompleteServiceIrp, extension, service_irp);
    if (admitted) device.callers().release();
}

}  // namespace wnbd::driver
