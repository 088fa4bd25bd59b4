// SPDX-License-Identifier: LGPL-2.1-or-later
// IOCTL_SCSI_PASS_THROUGH and _DIRECT: any command from user space, unretried, with its sense data.
#include <algorithm>
#include <cstring>
#include <vector>

#include "lab/ddk/disk_ioctls.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

struct Common {
    UCHAR cdb_length, sense_length, data_in;
    ULONG data_length, timeout, sense_offset;
    UCHAR cdb[16];
};

template <typename T>
Common common_of(const T& from) {
    Common all{from.CdbLength,    from.SenseInfoLength, from.DataIn, from.DataTransferLength,
               from.TimeOutValue, from.SenseInfoOffset, {}};
    std::memcpy(all.cdb, from.Cdb, sizeof all.cdb);
    return all;
}

bool fits(std::size_t offset, std::size_t length, std::size_t total) {
    return offset <= total && length <= total - offset;
}

Direction direction_of(UCHAR data_in) {
    switch (data_in) {
        case SCSI_IOCTL_DATA_OUT: return Direction::Out;
        case SCSI_IOCTL_DATA_IN: return Direction::In;
        default: return Direction::Unspecified;
    }
}

bool may_go_out(Direction direction) {
    return direction == Direction::Out || direction == Direction::Unspecified;
}

bool may_come_in(Direction direction) {
    return direction == Direction::In || direction == Direction::Unspecified;
}

NTSTATUS prepare(const Common& from, Disk& disk, Request& request) {
    const bool unaligned_direction = from.data_in > SCSI_IOCTL_DATA_UNSPECIFIED;
    if (from.cdb_length == 0 || from.cdb_length > sizeof from.cdb || unaligned_direction)
        return STATUS_INVALID_PARAMETER;
    if (from.data_length > limits(*disk.unit.adapter).max_transfer_length)
        return STATUS_INVALID_PARAMETER;
    request.address = disk.unit.address;
    request.form = SrbForm::Alternate;
    request.cdb_length = from.cdb_length;
    std::memcpy(request.cdb, from.cdb, from.cdb_length);
    request.timeout_seconds = from.timeout != 0 ? from.timeout : 60;
    request.data_length = from.data_length;
    if (from.data_length != 0) request.direction = direction_of(from.data_in);
    return STATUS_SUCCESS;
}

/// Sense data and status go back in the caller's own structure; the ioctl succeeds whenever the
/// command came to an end that has a SCSI status.
template <typename T>
NTSTATUS give_back(PIRP irp, T& through, const Request& request, std::size_t end) {
    auto* const buffer = static_cast<std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
    through.ScsiStatus = request.scsi_status;
    through.DataTransferLength = request.transferred;
    const std::uint8_t sense =
        std::min<std::uint8_t>(through.SenseInfoLength, request.sense_length);
    through.SenseInfoLength = sense;
    std::memcpy(buffer + through.SenseInfoOffset, request.sense, sense);
    std::memcpy(buffer, &through, sizeof through);
    if (sense != 0) end = std::max<std::size_t>(end, through.SenseInfoOffset + sense);
    bool retry = false;
    const NTSTATUS status = status_of(request, retry);
    const bool answered = request.srb_status == SRB_STATUS_SUCCESS ||
                          request.srb_status == SRB_STATUS_ERROR ||
                          request.srb_status == SRB_STATUS_DATA_OVERRUN;
    return complete(irp, answered ? STATUS_SUCCESS : status,
                    std::max<std::size_t>(end, sizeof through));
}

NTSTATUS buffered(Disk& disk, PIRP irp) {
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    const ULONG in = parameters.InputBufferLength;
    const ULONG out = parameters.OutputBufferLength;
    SCSI_PASS_THROUGH through;
    if (in < sizeof through || out < sizeof through) return complete(irp, STATUS_INVALID_PARAMETER);
    auto* const buffer = static_cast<std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
    std::memcpy(&through, buffer, sizeof through);
    if (through.Length != sizeof through) return complete(irp, STATUS_REVISION_MISMATCH);
    Request request;
    const NTSTATUS valid = prepare(common_of(through), disk, request);
    if (!NT_SUCCESS(valid)) return complete(irp, valid);
    const bool goes_out = may_go_out(request.direction);
    const bool comes_in = may_come_in(request.direction);
    if (!fits(through.SenseInfoOffset, through.SenseInfoLength, out) ||
        (request.data_length != 0 &&
         (through.DataBufferOffset < sizeof through ||
          (goes_out && !fits(through.DataBufferOffset, request.data_length, in)) ||
          (comes_in && !fits(through.DataBufferOffset, request.data_length, out)))) ||
        (through.SenseInfoLength != 0 && through.SenseInfoOffset < sizeof through))
        return complete(irp, STATUS_INVALID_PARAMETER);
    std::vector<std::uint8_t> data(request.data_length);
    if (goes_out) std::memcpy(data.data(), buffer + through.DataBufferOffset, data.size());
    request.data = data.data();
    execute(*disk.unit.adapter, request);
    std::size_t end = sizeof through;
    if (comes_in && request.transferred != 0) {
        std::memcpy(buffer + through.DataBufferOffset, data.data(), request.transferred);
        end = through.DataBufferOffset + request.transferred;
    }
    return give_back(irp, through, request, end);
}

NTSTATUS direct(Disk& disk, PIRP irp) {
    const auto& parameters = IoGetCurrentIrpStackLocation(irp)->Parameters.DeviceIoControl;
    SCSI_PASS_THROUGH_DIRECT through;
    if (parameters.InputBufferLength < sizeof through ||
        parameters.OutputBufferLength < sizeof through)
        return complete(irp, STATUS_INVALID_PARAMETER);
    std::memcpy(&through, irp->AssociatedIrp.SystemBuffer, sizeof through);
    if (through.Length != sizeof through) return complete(irp, STATUS_REVISION_MISMATCH);
    Request request;
    const NTSTATUS valid = prepare(common_of(through), disk, request);
    if (!NT_SUCCESS(valid)) return complete(irp, valid);
    if (!fits(through.SenseInfoOffset, through.SenseInfoLength, parameters.OutputBufferLength) ||
        (through.SenseInfoLength != 0 && through.SenseInfoOffset < sizeof through))
        return complete(irp, STATUS_INVALID_PARAMETER);
    std::vector<std::uint8_t> data(request.data_length);
    if (may_go_out(request.direction) &&
        !host().copy_user(through.DataBuffer, data.data(), data.size(), false))
        return complete(irp, STATUS_ACCESS_VIOLATION);
    request.data = data.data();
    execute(*disk.unit.adapter, request);
    if (may_come_in(request.direction) && request.transferred != 0 &&
        !host().copy_user(through.DataBuffer, data.data(), request.transferred, true))
        return complete(irp, STATUS_ACCESS_VIOLATION);
    return give_back(irp, through, request, sizeof through);
}

}  // namespace

NTSTATUS pass_through(Disk& disk, PIRP irp, bool is_direct) {
    return is_direct ? direct(disk, irp) : buffered(disk, irp);
}

}  // namespace wnbd::lab
