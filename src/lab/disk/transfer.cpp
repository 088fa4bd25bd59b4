// SPDX-License-Identifier: LGPL-2.1-or-later
// Read and write IRPs: checked, cut into pieces of the adapter's size, all pieces sent at once.
#include <algorithm>
#include <thread>
#include <vector>

#include "base/big_endian.h"
#include "lab/disk/disk.h"
#include "lab/storport/devices.h"

namespace wnbd::lab {
namespace {

constexpr std::uint32_t kPieceMax = 2U << 20;  // where the adapter names no limit
constexpr std::uint64_t kLba10Max = 0xFFFFFFFF;
constexpr std::uint64_t kBlocks10Max = 0xFFFF;
constexpr std::uint8_t kForceUnitAccess = 0x08;

struct Transfer {
    std::shared_ptr<Disk> disk;
    PIRP irp;
    std::uint32_t length;
    std::atomic<std::uint32_t> left;
    std::vector<Request> pieces;
    std::vector<std::uint32_t> tries;
};

void finish(Transfer* transfer) {
    NTSTATUS status = STATUS_SUCCESS;
    ULONG_PTR done = 0;
    for (const Request& piece : transfer->pieces) {
        bool retry = false;
        status = status_of(piece, retry);
        if (!NT_SUCCESS(status)) break;
        done += piece.transferred;
        if (piece.transferred < piece.data_length) {
            status = STATUS_IO_DEVICE_ERROR;
            break;
        }
    }
    PIRP const irp = transfer->irp;
    delete transfer;
    complete(irp, status, NT_SUCCESS(status) ? done : 0);
}

void piece_done(Request& request) {
    auto* const transfer = static_cast<Transfer*>(request.context);
    bool retry = false;
    status_of(request, retry);
    // Not here, where nothing may wait.
    if (tells_new_capacity(request))
        std::thread([disk = transfer->disk] { read_properties(*disk); }).detach();
    std::uint32_t& tries =
        transfer->tries[static_cast<std::size_t>(&request - transfer->pieces.data())];
    if (retry && !transfer->disk->gone && tries < kRetriesMax) {
        ++tries;
        return submit(*transfer->disk->unit.adapter, request);
    }
    if (transfer->left.fetch_sub(1) == 1) finish(transfer);
}

void build_cdb(Request& piece, bool write, bool through, std::uint64_t lba, std::uint64_t blocks) {
    if (lba + blocks - 1 <= kLba10Max && blocks <= kBlocks10Max) {
        piece.cdb[0] = write ? 0x2A : 0x28;
        store_big_endian<std::uint32_t>(piece.cdb + 2, static_cast<std::uint32_t>(lba));
        store_big_endian<std::uint16_t>(piece.cdb + 7, static_cast<std::uint16_t>(blocks));
        piece.cdb_length = 10;
    } else {
        piece.cdb[0] = write ? 0x8A : 0x88;
        store_big_endian<std::uint64_t>(piece.cdb + 2, lba);
        store_big_endian<std::uint32_t>(piece.cdb + 10, static_cast<std::uint32_t>(blocks));
        piece.cdb_length = 16;
    }
    if (through) piece.cdb[1] = kForceUnitAccess;
}

std::uint8_t* buffer_of(PIRP irp) {
    if (irp->MdlAddress != nullptr)
        return static_cast<std::uint8_t*>(
            MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority));
    return static_cast<std::uint8_t*>(irp->AssociatedIrp.SystemBuffer);
}

}  // namespace

NTSTATUS disk_read_write(std::shared_ptr<Disk> disk, PIRP irp) {
    PIO_STACK_LOCATION const stack = IoGetCurrentIrpStackLocation(irp);
    const bool write = stack->MajorFunction == IRP_MJ_WRITE;
    const auto& parameters = stack->Parameters;
    const std::uint32_t length = write ? parameters.Write.Length : parameters.Read.Length;
    const LONGLONG offset =
        write ? parameters.Write.ByteOffset.QuadPart : parameters.Read.ByteOffset.QuadPart;
    if (disk->gone || !disk->started) return complete(irp, STATUS_DEVICE_DOES_NOT_EXIST);
    if (length == 0) return complete(irp, STATUS_SUCCESS);
    const std::uint32_t sector = disk->sector();
    const std::uint64_t size = disk->length();
    if (offset < 0 || offset % sector != 0 || length % sector != 0 ||
        static_cast<std::uint64_t>(offset) > size ||
        size - static_cast<std::uint64_t>(offset) < length)
        return complete(irp, STATUS_INVALID_PARAMETER);
    {
        const std::lock_guard lock(disk->mutex);
        if (write && (disk->write_protected || (disk->attributes & 2) != 0))
            return complete(irp, STATUS_MEDIA_WRITE_PROTECTED);
        if ((disk->attributes & 1) != 0) return complete(irp, STATUS_DEVICE_NOT_READY);
    }
    std::uint8_t* const buffer = buffer_of(irp);
    if (buffer == nullptr) return complete(irp, STATUS_INSUFFICIENT_RESOURCES);

    const bool through =
        write &&
        ((stack->Flags & SL_WRITE_THROUGH) != 0 ||
         (stack->FileObject != nullptr && (stack->FileObject->Flags & FO_WRITE_THROUGH) != 0));
    std::uint32_t piece_bytes =
        std::min(limits(*disk->unit.adapter).max_transfer_length, kPieceMax);
    piece_bytes = std::max(piece_bytes / sector * sector, sector);
    const std::uint32_t count = (length + piece_bytes - 1) / piece_bytes;
    auto* const transfer = new Transfer{
        disk, irp, length, count, std::vector<Request>(count), std::vector<std::uint32_t>(count)};
    for (std::uint32_t i = 0; i < count; ++i) {
        Request& piece = transfer->pieces[i];
        const std::uint32_t at = i * piece_bytes;
        piece.address = disk->unit.address;
        piece.form = SrbForm::Alternate;
        piece.direction = write ? Direction::Out : Direction::In;
        piece.data = buffer + at;
        piece.data_length = std::min(piece_bytes, length - at);
        piece.complete = piece_done;
        piece.context = transfer;
        build_cdb(piece, write, through, (static_cast<std::uint64_t>(offset) + at) / sector,
                  piece.data_length / sector);
    }
    IoMarkIrpPending(irp);
    // The transfer may be gone as soon as the last piece is submitted.
    Adapter& adapter = *disk->unit.adapter;
    for (std::uint32_t i = 0; i < count; ++i)
        submit(adapter, transfer->pieces[i]);
    return STATUS_PENDING;
}

}  // namespace wnbd::lab
