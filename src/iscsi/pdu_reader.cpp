// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/pdu_reader.h"

#include <algorithm>
#include <cstring>

namespace wnbd::iscsi {
namespace {

constexpr std::size_t additional_max = 1020;
/// What one call may bring while PDUs are small.
constexpr std::size_t usual_room = 128U << 10;
/// From here on a data segment is worth a slice of its own.
constexpr std::uint32_t large_segment = 32U << 10;
/// What is read behind a large data segment, or where the next one is likely to begin: its header,
/// and little of what would have to be copied.
constexpr std::size_t small_room = 2048;

}  // namespace

PduReader::PduReader(PduSink& sink, std::uint32_t segment_max)
    : sink_(sink),
      segment_max_(segment_max),
      capacity_(header_length + additional_max + digest_length + padded(segment_max) +
                digest_length + usual_room),
      buffer_(new std::uint8_t[capacity_]) {}

std::span<const ReceiveSlice> PduReader::room() noexcept {
    if (held_) return {};
    std::size_t count = 0;
    std::size_t want = large_data_ ? small_room : usual_room;
    if (at_ == At::data && placed_ && taken_ < destination_.size()) {
        // Whatever had been received of it is in its place: the buffer is empty.
        const auto rest = destination_.subspan(taken_);
        slices_[count++] = {rest.data(), rest.size()};
    } else if (wanted_ > available()) {
        want = std::max(want, wanted_ - available());
    }
    if (begin_ == end_) begin_ = end_ = 0;
    if (capacity_ - end_ < want) {
        std::memmove(buffer_.get(), here(), available());
        end_ -= begin_;
        begin_ = 0;
    }
    slices_[count++] = {buffer_.get() + end_, std::min(want, capacity_ - end_)};
    return std::span(slices_).first(count);
}

void PduReader::received(std::size_t count) noexcept {
    if (at_ == At::data && placed_ && taken_ < destination_.size()) {
        const auto direct = std::min<std::size_t>(count, destination_.size() - taken_);
        if (data_digest_) digest_.feed(destination_.subspan(taken_, direct));
        taken_ += static_cast<std::uint32_t>(direct);
        count -= direct;
    }
    end_ += count;
}

PduReader::Fault PduReader::run() noexcept {
    Fault fault = Fault::none;
    bool goes_on = true;
    while (goes_on && !held_) {
        switch (at_) {
            case At::header: goes_on = take_header(fault); break;
            case At::data: goes_on = placed_ ? take_placed_data() : take_buffered_data(); break;
            case At::trailer: goes_on = take_trailer(); break;
        }
    }
    return fault;
}

bool PduReader::take_header(Fault& fault) noexcept {
    wanted_ = header_length;
    if (available() < wanted_) return false;
    const HeaderView header(here(), header_length);
    const std::size_t segments = header_length + additional_length(header);
    wanted_ = segments + (header_digest_ ? digest_length : 0);
    if (available() < wanted_) return false;
    if (header_digest_) {
        Crc32c digest;
        digest.feed({here(), segments});
        if (!digest_matches(digest, here() + segments)) {
            fault = Fault::header_digest;
            return false;
        }
    }
    length_ = data_length(header);
    if (length_ > segment_max_) {
        fault = Fault::segment_too_long;
        return false;
    }
    std::copy(header.begin(), header.end(), header_.begin());
    const auto placement = sink_.begin(header_, {here() + header_length, segments - header_length});
    advance(wanted_);
    placed_ = placement.placed;
    destination_ = placement.room.first(std::min<std::size_t>(placement.room.size(), length_));
    large_data_ = length_ >= large_segment;
    taken_ = 0;
    digest_ = {};
    if (length_ == 0)
        end_pdu({}, true);
    else
        at_ = At::data;
    return true;
}

bool PduReader::take_placed_data() noexcept {
    const auto count = std::min<std::size_t>(available(), length_ - taken_);
    const std::span<const std::uint8_t> bytes(here(), count);
    if (taken_ < destination_.size())
        std::memcpy(destination_.data() + taken_, bytes.data(),
                    std::min(count, destination_.size() - taken_));
    if (data_digest_) digest_.feed(bytes);
    taken_ += static_cast<std::uint32_t>(count);
    advance(count);
    if (taken_ < length_) return false;
    at_ = At::trailer;
    return true;
}

bool PduReader::take_buffered_data() noexcept {
    wanted_ = padded(length_) + (data_digest_ ? digest_length : 0);
    if (available() < wanted_) return false;
    bool intact = true;
    if (data_digest_) {
        digest_.feed({here(), padded(length_)});
        intact = digest_matches(digest_, here() + padded(length_));
    }
    const std::span<const std::uint8_t> data(here(), length_);
    advance(wanted_);
    end_pdu(data, intact);
    return true;
}

/// Padding and digest behind data that has been placed.
bool PduReader::take_trailer() noexcept {
    const std::size_t padding = padded(length_) - length_;
    wanted_ = padding + (data_digest_ ? digest_length : 0);
    if (available() < wanted_) return false;
    bool intact = true;
    if (data_digest_) {
        digest_.feed({here(), padding});
        intact = digest_matches(digest_, here() + padding);
    }
    advance(wanted_);
    end_pdu({}, intact);
    return true;
}

void PduReader::advance(std::size_t count) noexcept {
    begin_ += count;
    wanted_ = 0;
}

void PduReader::end_pdu(std::span<const std::uint8_t> data, bool intact) noexcept {
    at_ = At::header;
    placed_ = false;
    destination_ = {};
    sink_.finish(header_, data, intact);
}

bool PduReader::digest_matches(const Crc32c& digest, const std::uint8_t* wire) noexcept {
    const std::uint32_t sent = std::uint32_t{wire[0]} | std::uint32_t{wire[1]} << 8 |
                               std::uint32_t{wire[2]} << 16 | std::uint32_t{wire[3]} << 24;
    return digest.value() == sent;
}

}  // namespace wnbd::iscsi
