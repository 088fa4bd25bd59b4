// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/backend_job.h"

#include <algorithm>
#include <cstring>

#include "libwnbd/sense_mapping.h"

namespace wnbd::libwnbd {

namespace {

using backend::Error;
using backend::Operation;
using scsi::AdditionalSense;

/// The largest range of one trim, in bytes: NBD carries 32 bits, and a multiple of every block size
/// keeps the next piece aligned.
constexpr std::uint64_t trim_length_max = 1ULL << 30;

bool in_range(const ServedDisk& disk, std::uint64_t block_address, std::uint32_t block_count) {
    return block_address <= disk.block_count && block_count <= disk.block_count - block_address;
}

/// The most bytes one read or write carries: what the backend takes, in whole blocks.
std::uint64_t payload_max(const ServedDisk& disk) {
    const auto& properties = disk.backend->properties();
    const std::uint64_t unit = std::max(disk.block_size, properties.minimum_block);
    return std::max<std::uint64_t>(properties.maximum_payload / unit * unit, unit);
}

}  // namespace

void BackendJob::start(const ServedDisk& disk, const WNBD_IO_REQUEST& request,
                       std::span<std::uint8_t> buffer) noexcept {
    disk_ = &disk;
    request_ = request;
    buffer_ = buffer;
    offset_ = remaining_ = 0;
    position_ = descriptors_ = descriptor_ = 0;
    flush_after_ = false;
    piece_ = {};
    piece_.done = &BackendJob::piece_done;
    piece_.context = this;

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
            piece_.operation = Operation::flush;
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
    if (ready) run();
}

bool BackendJob::prepare_transfer(Operation operation, std::uint64_t block_address,
                                  std::uint32_t block_count, bool force_unit_access) noexcept {
    if (!in_range(*disk_, block_address, block_count)) {
        refuse(AdditionalSense::lba_out_of_range);
        return false;
    }
    remaining_ = std::uint64_t{block_count} * disk_->block_size;
    if (remaining_ > buffer_.size()) {
        refuse(AdditionalSense::invalid_field_in_cdb);
        return false;
    }
    offset_ = block_address * disk_->block_size;
    piece_.operation = operation;
    if (force_unit_access) {
        piece_.force_unit_access = disk_->backend->properties().can_fua;
        flush_after_ = !piece_.force_unit_access;
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
    piece_.operation = Operation::trim;
    descriptors_ = count;
    return true;
}

/// Goes on to the next descriptor that is not empty. False at the end of the list.
bool BackendJob::next_range() noexcept {
    while (remaining_ == 0) {
        if (descriptor_ == descriptors_) return false;
        WNBD_UNMAP_DESCRIPTOR range{};
        std::memcpy(&range, buffer_.data() + descriptor_ * sizeof(range), sizeof(range));
        ++descriptor_;
        offset_ = range.BlockAddress * disk_->block_size;
        remaining_ = std::uint64_t{range.BlockCount} * disk_->block_size;
    }
    return true;
}

/// Fills in piece_ with what is to be done next. False when nothing is left.
bool BackendJob::next_piece() noexcept {
    if (piece_.operation == Operation::trim) {
        if (!next_range()) return false;
        piece_.length = std::min(remaining_, trim_length_max);
    } else if (remaining_ > 0) {
        piece_.length = std::min(remaining_, payload_max(*disk_));
        piece_.buffer = buffer_.subspan(position_, static_cast<std::size_t>(piece_.length));
        position_ += static_cast<std::uint32_t>(piece_.length);
    } else if (flush_after_) {
        flush_after_ = false;
        piece_.operation = Operation::flush;
        piece_.offset = piece_.length = 0;
        piece_.buffer = {};
        return true;
    } else {
        return false;
    }
    piece_.offset = offset_;
    offset_ += piece_.length;
    remaining_ -= piece_.length;
    return true;
}

/// Submits piece after piece. A backend that completes inside submit() is met by a loop, not by
/// recursion: 256 descriptors would otherwise be 256 frames deep.
void BackendJob::run() noexcept {
    while (next_piece()) {
        phase_.store(Phase::submitting, std::memory_order_relaxed);
        disk_->backend->submit(piece_);
        // Unless it has completed already, piece_done goes on from here, and the job may be
        // elsewhere by now.
        if (phase_.exchange(Phase::returned, std::memory_order_acq_rel) != Phase::completed) return;
        if (error_ != Error::none) return finish(error_);
    }
    finish(Error::none);
}

void BackendJob::piece_done(backend::Request& piece, Error error) noexcept {
    auto& job = *static_cast<BackendJob*>(piece.context);
    job.error_ = error;
    if (job.phase_.exchange(Phase::completed, std::memory_order_acq_rel) == Phase::submitting)
        return;
    if (error != Error::none) return job.finish(error);
    job.run();
}

void BackendJob::finish(Error error) noexcept {
    const bool good_read = request_.RequestType == WnbdReqTypeRead && error == Error::none;
    owner_.finished(*this, status_of(piece_.operation, error), good_read ? position_ : 0, error);
}

void BackendJob::refuse(AdditionalSense additional) noexcept {
    owner_.finished(*this, check_condition({scsi::SenseKey::illegal_request, additional}), 0,
                    Error::none);
}

}  // namespace wnbd::libwnbd
