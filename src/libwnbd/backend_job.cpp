// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/backend_job.h"

#include <cstring>

#include "libwnbd/sense_mapping.h"

namespace wnbd::libwnbd {

namespace {

using backend::Error;
using backend::Operation;
using scsi::AdditionalSense;

bool in_range(const ServedDisk& disk, std::uint64_t block_address, std::uint32_t block_count) {
    const std::uint64_t end = disk.block_count.load(std::memory_order_relaxed);
    return block_address <= end && block_count <= end - block_address;
}

}  // namespace

void BackendJob::start(const ServedDisk& disk, const WNBD_IO_REQUEST& request,
                       std::span<std::uint8_t> buffer) noexcept {
    disk_ = &disk;
    request_ = request;
    buffer_ = buffer;
    operation_ = Operation::flush;
    force_unit_access_ = flush_after_ = false;
    range_ = {};
    length_ = descriptors_ = descriptor_ = 0;

    bool ready = false;
    switch (request.RequestType) {
        case WnbdReqTypeRead: {
            // A forced read asks for data from the medium. Whatever is written by force, or
            // flushed, is there already, so the backend's own order suffices.
            const auto& read = request.Cmd.Read;
            ready = prepare_transfer(Operation::read, read.BlockAddress, read.BlockCount, false);
            break;
        }
        case WnbdReqTypeWrite: {
            const auto& write = request.Cmd.Write;
            ready = prepare_transfer(Operation::write, write.BlockAddress, write.BlockCount,
                                     write.ForceUnitAccess != 0);
            break;
        }
        case WnbdReqTypeFlush:
            // The whole backend: a range is a hint, and NBD knows none.
            flush_after_ = true;
            ready = true;
            break;
        case WnbdReqTypeUnmap: ready = prepare_unmap(); break;
        case WnbdReqTypeUnknown:
        case WnbdReqTypeDisconnect:
        case WnbdReqTypePersistResIn:
        case WnbdReqTypePersistResOut:
        default: refuse(AdditionalSense::invalid_command_operation_code); break;
    }
    if (ready && run(*disk.backend)) over();
}

bool BackendJob::prepare_transfer(Operation operation, std::uint64_t block_address,
                                  std::uint32_t block_count, bool force_unit_access) noexcept {
    if (!in_range(*disk_, block_address, block_count)) {
        refuse(AdditionalSense::lba_out_of_range);
        return false;
    }
    const std::uint64_t length = std::uint64_t{block_count} * disk_->block_size;
    if (length > buffer_.size()) {
        refuse(AdditionalSense::invalid_field_in_cdb);
        return false;
    }
    length_ = static_cast<std::uint32_t>(length);
    range_ = {.offset = block_address * disk_->block_size,
              .remaining = length,
              .buffer = buffer_.first(length_)};
    operation_ = operation;
    if (force_unit_access) {
        force_unit_access_ = disk_->backend->properties().can_fua;
        flush_after_ = !force_unit_access_;
    }
    return true;
}

bool BackendJob::prepare_unmap() noexcept {
    const std::uint32_t count = request_.Cmd.Unmap.Count;
    if (count > disk_->unmap_count_max || count > buffer_.size() / sizeof(WNBD_UNMAP_DESCRIPTOR)) {
        refuse(AdditionalSense::invalid_field_in_parameter_list);
        return false;
    }
    // All or nothing: a bad descriptor at the end must not leave the others unmapped.
    for (std::uint32_t i = 0; i < count; ++i) {
        WNBD_UNMAP_DESCRIPTOR range{};
        std::memcpy(&range, buffer_.data() + i * sizeof(range), sizeof(range));
        if (!in_range(*disk_, range.BlockAddress, range.BlockCount)) {
            refuse(AdditionalSense::lba_out_of_range);
            return false;
        }
    }
    operation_ = Operation::trim;
    descriptors_ = count;
    return true;
}

/// Goes on to the next descriptor that is not empty. False at the end of the list.
bool BackendJob::next_range() noexcept {
    while (range_.remaining == 0) {
        if (descriptor_ == descriptors_) return false;
        WNBD_UNMAP_DESCRIPTOR range{};
        std::memcpy(&range, buffer_.data() + descriptor_ * sizeof(range), sizeof(range));
        ++descriptor_;
        range_.offset = range.BlockAddress * disk_->block_size;
        range_.remaining = std::uint64_t{range.BlockCount} * disk_->block_size;
    }
    return true;
}

bool BackendJob::next_piece(backend::Request& piece) noexcept {
    piece.operation = operation_;
    piece.force_unit_access = force_unit_access_;
    if (operation_ == Operation::trim && !next_range()) return false;
    if (range_.next(disk_->backend->properties(), disk_->block_size, piece)) return true;
    if (!flush_after_) return false;
    flush_after_ = false;
    piece.operation = Operation::flush;
    piece.force_unit_access = false;
    piece.offset = piece.length = 0;
    piece.buffer = {};
    return true;
}

void BackendJob::over() noexcept {
    const bool good_read = request_.RequestType == WnbdReqTypeRead && error() == Error::none;
    owner_.finished(*this, status_of(operation(), error()), good_read ? length_ : 0, error());
}

void BackendJob::refuse(AdditionalSense additional) noexcept {
    owner_.finished(*this, check_condition({scsi::SenseKey::illegal_request, additional}), 0,
                    Error::none);
}

}  // namespace wnbd::libwnbd
