// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/pieces.h"

#include <algorithm>

namespace wnbd::backend {
namespace {

/// The largest range of one trim or write_zeroes, in bytes: NBD carries 32 bits, and a multiple of
/// every block size keeps the next piece aligned.
constexpr std::uint64_t range_length_max = 1ULL << 30;

/// The most bytes one read or write carries: what the backend takes, in whole blocks.
std::uint64_t payload_max(const Properties& properties, std::uint32_t block_size) noexcept {
    const std::uint64_t unit = std::max(block_size, properties.minimum_block);
    return std::max<std::uint64_t>(properties.maximum_payload / unit * unit, unit);
}

}  // namespace

bool Range::next(const Properties& properties, std::uint32_t block_size, Request& piece) noexcept {
    if (remaining == 0) return false;
    piece.offset = offset;
    if (piece.operation == Operation::read || piece.operation == Operation::write) {
        piece.length = std::min(remaining, payload_max(properties, block_size));
        piece.length = std::min<std::uint64_t>(piece.length, buffer.size());
        piece.buffer = buffer.first(static_cast<std::size_t>(piece.length));
        if (!repeats) buffer = buffer.subspan(piece.buffer.size());
    } else {
        piece.length = std::min(remaining, range_length_max);
        piece.buffer = {};
    }
    offset += piece.length;
    remaining -= piece.length;
    return true;
}

bool Pieces::run(Backend& backend) noexcept {
    Request* const piece = first(backend);
    if (piece == nullptr) return true;
    backend.submit(*piece);
    return submitted();
}

Request* Pieces::first(Backend& backend) noexcept {
    backend_ = &backend;
    error_ = Error::none;
    piece_ = {};
    piece_.done = &Pieces::piece_done;
    piece_.context = this;
    return prepare() ? &piece_ : nullptr;
}

bool Pieces::prepare() noexcept {
    if (!next_piece(piece_)) return false;
    phase_.store(Phase::submitting, std::memory_order_relaxed);
    return true;
}

bool Pieces::submitted() noexcept {
    for (;;) {
        // Unless the piece has completed already, piece_done() goes on from here, and the object
        // may be elsewhere by now.
        if (phase_.exchange(Phase::returned, std::memory_order_acq_rel) != Phase::completed)
            return false;
        if (error_ != Error::none || !prepare()) return true;
        backend_->submit(piece_);
    }
}

void Pieces::piece_done(Request& piece, Error error) noexcept {
    auto& series = *static_cast<Pieces*>(piece.context);
    series.error_ = error;
    if (series.phase_.exchange(Phase::completed, std::memory_order_acq_rel) == Phase::submitting)
        return;
    if (error != Error::none || !series.prepare()) return series.over();
    series.backend_->submit(series.piece_);
    if (series.submitted()) series.over();
}

}  // namespace wnbd::backend
