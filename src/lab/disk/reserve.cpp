// SPDX-License-Identifier: LGPL-2.1-or-later
// IOCTL_STORAGE_PERSISTENT_RESERVE_IN and _OUT.
#include <cstring>
#include <vector>

#include "base/big_endian.h"
#include "lab/ddk/disk_ioctls.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"

namespace wnbd::lab {
namespace {

constexpr std::size_t kParameters = offsetof(PERSISTENT_RESERVE_COMMAND, PR_OUT.ParameterList);

NTSTATUS reserve_in(Disk& disk, PIRP irp, const PERSISTENT_RESERVE_COMMAND& command) {
    const ULONG room =
        IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl.OutputBufferLength;
    if (command.PR_IN.AllocationLength > room) return complete(irp, STATUS_INVALID_PARAMETER);
    std::vector<std::uint8_t> data(command.PR_IN.AllocationLength);
    Request request;
    request.cdb[0] = 0x5E;
    request.cdb[1] = command.PR_IN.ServiceAction;
    store_big_endian<std::uint16_t>(request.cdb + 7, command.PR_IN.AllocationLength);
    request.cdb_length = 10;
    request.direction = Direction::In;
    request.data = data.data();
    request.data_length = static_cast<std::uint32_t>(data.size());
    const NTSTATUS status = run_command(disk, request);
    if (!NT_SUCCESS(status)) return complete(irp, status);
    std::memcpy(irp->AssociatedIrp.SystemBuffer, data.data(), request.transferred);
    return complete(irp, status, request.transferred);
}

NTSTATUS reserve_out(Disk& disk, PIRP irp, const PERSISTENT_RESERVE_COMMAND& command) {
    const auto* const buffer = static_cast<const std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
    std::vector<std::uint8_t> parameters(buffer + kParameters, buffer + command.Size);
    Request request;
    request.cdb[0] = 0x5F;
    request.cdb[1] = command.PR_OUT.ServiceAction;
    request.cdb[2] = static_cast<std::uint8_t>(command.PR_OUT.Scope << 4 | command.PR_OUT.Type);
    store_big_endian<std::uint32_t>(request.cdb + 5, static_cast<std::uint32_t>(parameters.size()));
    request.cdb_length = 10;
    request.direction = Direction::Out;
    request.data = parameters.data();
    request.data_length = static_cast<std::uint32_t>(parameters.size());
    return complete(irp, run_command(disk, request));
}

}  // namespace

NTSTATUS persistent_reserve(Disk& disk, PIRP irp, bool out) {
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    PERSISTENT_RESERVE_COMMAND command{};
    if (parameters.InputBufferLength < sizeof command)
        return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    std::memcpy(&command, irp->AssociatedIrp.SystemBuffer, sizeof command);
    if (command.Size < sizeof command || command.Size > parameters.InputBufferLength)
        return complete(irp, STATUS_INFO_LENGTH_MISMATCH);
    return out ? reserve_out(disk, irp, command) : reserve_in(disk, irp, command);
}

}  // namespace wnbd::lab
