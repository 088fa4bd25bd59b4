// SPDX-License-Identifier: LGPL-2.1-or-later
// Work of any length, done in pieces that a backend takes, one after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "backend/backend.h"

namespace wnbd::backend {

/// What is left of a range of bytes. Cuts it into pieces.
struct Range {
    std::uint64_t offset = 0;     // bytes, of the next piece
    std::uint64_t remaining = 0;  // bytes
    /// Read and write: what the range moves, of as many bytes; or, where `repeats`, the bytes that
    /// every piece begins with, at least one block.
    std::span<std::uint8_t> buffer{};
    bool repeats = false;

    /// Fills in where `piece`, whose operation is set, takes place, and goes on behind it. False
    /// when nothing is left. Pieces are of whole blocks of `block_size` bytes.
    [[nodiscard]] bool next(const Properties& properties, std::uint32_t block_size,
                            Request& piece) noexcept;
};

/// A series of requests to one backend, each begun when the one before is over. Reusable; one
/// series at a time. Whoever derives from it says what is to be done.
class Pieces {
  public:
    Pieces(const Pieces&) = delete;
    Pieces& operator=(const Pieces&) = delete;

    /// Serves piece after piece: in a loop as long as the backend completes within submit(), so
    /// that a long list is no deep stack. True: the series is over, and error() says how. False: it
    /// is under way, and over() follows on the thread that completes its last piece; it may have
    /// been called already, and `this` be gone.
    [[nodiscard]] bool run(Backend& backend) noexcept;

    // The same with the first piece submitted by the caller, together with others' pieces:

    /// The first piece; nullptr when there is none, and the series is over.
    [[nodiscard]] Request* first(Backend& backend) noexcept;
    /// After first()'s piece was submitted: goes on as run() does.
    [[nodiscard]] bool submitted() noexcept;

    /// Of the piece that ended the series.
    [[nodiscard]] Error error() const noexcept { return error_; }
    [[nodiscard]] Operation operation() const noexcept { return piece_.operation; }

  protected:
    Pieces() noexcept = default;
    ~Pieces() = default;

    /// Fills in the next piece; false when all is done. Called after the piece before has
    /// succeeded. `piece` is as it was then; at first it is a default Request.
    [[nodiscard]] virtual bool next_piece(Request& piece) noexcept = 0;
    /// The series is over, on a thread of the backend's. The object may be reused or destroyed.
    virtual void over() noexcept = 0;

  private:
    enum class Phase : std::uint8_t { submitting, returned, completed };

    [[nodiscard]] bool prepare() noexcept;
    static void piece_done(Request& piece, Error error) noexcept;

    Backend* backend_ = nullptr;
    Request piece_{};
    Error error_ = Error::none;
    std::atomic<Phase> phase_{Phase::submitting};
};

}  // namespace wnbd::backend
