// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/unit_job.h"

#include <algorithm>
#include <cstddef>
#include <new>

#include "backend/sense.h"

namespace wnbd::iscsi {
namespace {

/// GET LBA STATUS asks the backend so often at the most, of so many bytes each time, and takes so
/// many runs; initiators ask again from where the answer ends.
constexpr unsigned extents_asked_max = 16;
constexpr std::uint64_t extents_length_max = 1ULL << 30;
constexpr std::size_t extents_min = 64;
constexpr std::size_t extents_max = ScratchPool::buffer_size / sizeof(backend::Extent);
static_assert(alignof(backend::Extent) <= alignof(std::max_align_t));

}  // namespace

using backend::Error;
using backend::Operation;
using scsi::Sink;
using scsi::Source;
using scsi::Verb;

void UnitJob::set_up(Owner& owner, const scsi::Disk& disk, backend::Backend& backend,
                     std::uint8_t* zeroes) noexcept {
    owner_ = &owner;
    disk_ = &disk;
    backend_ = &backend;
    zeroes_ = zeroes;
}

void UnitJob::begin(engine::Request& request, std::span<std::uint8_t> data) noexcept {
    request_ = &request;
    data_ = data;
    prepared_ = false;
    range_ = {};
    read_length_ = read_position_ = 0;
    descriptor_ = 0;
    extents_asked_ = 0;
    answer_ = {};
}

bool UnitJob::needs_scratch() const noexcept {
    const scsi::Step& step = request_->step;
    return step.source == Source::repeated_block || step.verb == Verb::get_lba_status ||
           (step.verb == Verb::read && step.sink != Sink::data);
}

scsi::Answer UnitJob::answer() noexcept {
    const Error fault = error();
    // Admitted before the disk shrank.
    if (fault != Error::none && range_.offset > backend_->size())
        return scsi::refuse(scsi::SenseKey::illegal_request,
                            scsi::AdditionalSense::lba_out_of_range);
    if (operation_ == Operation::extents && tells_status()) {
        answer_.transferred = status_.finish();
        return answer_;
    }
    if (fault == Error::none) return answer_;
    return {scsi::Status::check_condition, backend::sense_of(operation(), fault), 0};
}

/// What the whole step does, as far as it is one range.
void UnitJob::prepare() noexcept {
    const scsi::Step& step = request_->step;
    const std::uint64_t length = std::uint64_t{step.blocks} * disk_->block_size;
    range_ = {.offset = step.lba * disk_->block_size, .remaining = length};
    switch (step.verb) {
        case Verb::read:
            operation_ = Operation::read;
            range_.repeats = step.sink != Sink::data;
            range_.buffer = range_.repeats ? std::span(scratch, ScratchPool::buffer_size)
                                           : data_.subspan(step.data_offset, step.reply_length);
            break;
        case Verb::write: prepare_write(); break;
        case Verb::unmap:
            operation_ = Operation::trim;
            range_ = {};
            break;
        case Verb::get_lba_status:
            operation_ = Operation::extents;
            range_ = {};
            status_ = {data_.first(step.reply_length), step.lba, step.block_count};
            break;
        default:
            operation_ = Operation::flush;
            range_ = {};
            break;
    }
}

void UnitJob::prepare_write() noexcept {
    const scsi::Step& step = request_->step;
    operation_ = Operation::write;
    range_.repeats = step.source != Source::data;
    switch (step.source) {
        case Source::data:
            range_.buffer = data_.subspan(step.data_offset, step.payload_length);
            break;
        case Source::zeroes:
            if (backend_->properties().can_write_zeroes) operation_ = Operation::write_zeroes;
            range_.buffer = {zeroes_, ScratchPool::buffer_size};
            break;
        default: {
            range_.buffer = {scratch, ScratchPool::buffer_size};
            const auto count = std::min(range_.buffer.size(), step.payload_length);
            scsi::Step first = step;
            first.payload_length = count;
            scsi::fill_payload(*disk_, first, data_, range_.buffer.first(count));
            break;
        }
    }
}

/// Does with the piece that was read last what the command wants. False: it differs from what was
/// expected, and the step is over.
bool UnitJob::absorb_piece() noexcept {
    const scsi::Step& step = request_->step;
    scsi::Step part = step;
    if (step.sink == Sink::compare || step.sink == Sink::combine)
        part.data_offset += read_position_;
    part.reply_length = read_length_;
    answer_ = scsi::absorb_reply(*disk_, part, std::span(scratch, read_length_), data_);
    read_position_ += read_length_;
    return answer_.status == scsi::Status::good;
}

/// Goes on to the next descriptor that is not empty. False at the end of the list.
bool UnitJob::next_descriptor() noexcept {
    const scsi::Step& step = request_->step;
    while (range_.remaining == 0) {
        if (descriptor_ == step.descriptor_count) return false;
        scsi::Step one = step;
        one.first_descriptor += descriptor_;
        one.descriptor_count = 1;
        one.payload_length = sizeof(scsi::UnmapDescriptor);
        scsi::UnmapDescriptor descriptor{};
        scsi::fill_payload(*disk_, one, data_,
                           {reinterpret_cast<std::uint8_t*>(&descriptor), sizeof(descriptor)});
        ++descriptor_;
        range_.offset = descriptor.lba * disk_->block_size;
        range_.remaining = std::uint64_t{descriptor.blocks} * disk_->block_size;
    }
    return true;
}

/// A block is deallocated when all of it is. What has been told of a block's beginning is told
/// again with the next piece.
void UnitJob::absorb_extents(const backend::Request& piece) noexcept {
    const std::uint64_t block = disk_->block_size;
    const std::uint64_t before = status_.next();
    std::uint64_t end = piece.offset;
    for (const backend::Extent& extent : piece.extents.first(piece.extent_count)) {
        end += extent.length;
        status_.add(extent.allocated ? (end + block - 1) / block : end / block, extent.allocated);
    }
    // Nobody knows what half a block is.
    if (status_.next() == before) status_.add(before + 1, true);
}

/// What has been told of stands, whatever has come then; a server that cannot tell says nothing of
/// the blocks. False: the step fails.
bool UnitJob::tells_status() noexcept {
    const scsi::Step& step = request_->step;
    const Error fault = error();
    if (status_.next() == step.lba && fault != Error::not_supported && fault != Error::invalid)
        return false;
    if (status_.next() == step.lba) status_.add(step.block_count, true);
    return true;
}

bool UnitJob::next_extents(backend::Request& piece) noexcept {
    if (extents_asked_ > 0) absorb_extents(piece);
    if (status_.complete() || extents_asked_ == extents_asked_max) return false;
    ++extents_asked_;
    const std::uint64_t end = status_.end() * disk_->block_size;
    piece.offset = status_.next() * disk_->block_size;
    piece.length = std::min(end - piece.offset, extents_length_max);
    range_.offset = piece.offset + piece.length;
    const std::size_t count = std::clamp(2 * status_.descriptors_max(), extents_min, extents_max);
    piece.extents = {new (scratch) backend::Extent[count], count};
    piece.extent_count = 0;
    return true;
}

bool UnitJob::next_piece(backend::Request& piece) noexcept {
    const scsi::Step& step = request_->step;
    if (!prepared_) {
        prepared_ = true;
        prepare();
        piece.operation = operation_;
        // Whatever is written by force, or flushed, is on the medium already, so that a read by
        // force needs no more than the backend's own order.
        piece.force_unit_access = step.force_unit_access && operation_ != Operation::read;
        piece.may_punch_hole = request_->block.unmap;
        if (operation_ == Operation::flush) return true;
    } else if (read_length_ != 0 && !absorb_piece()) {
        return false;
    }
    if (operation_ == Operation::extents) return next_extents(piece);
    if (operation_ == Operation::trim && !next_descriptor()) return false;
    if (!range_.next(backend_->properties(), disk_->block_size, piece)) return false;
    if (operation_ == Operation::read && range_.repeats)
        read_length_ = static_cast<std::size_t>(piece.length);
    return true;
}

}  // namespace wnbd::iscsi
