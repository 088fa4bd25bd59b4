// SPDX-License-Identifier: LGPL-2.1-or-later
// One step of a command, served by the backend straight out of, or into, the task's buffer.
#pragma once

#include <cstdint>
#include <span>

#include "backend/pieces.h"
#include "engine/request.h"
#include "iscsi/scratch_pool.h"
#include "scsi/lba_status.h"
#include "scsi/step.h"

namespace wnbd::iscsi {

/// Reusable: begin(), then Pieces' run() or first(), then answer().
class UnitJob final : public backend::Pieces, public ScratchPool::Borrower {
  public:
    class Owner {
      public:
        /// The job that ended on a thread of the backend's.
        virtual void job_over(UnitJob& job) noexcept = 0;

      protected:
        ~Owner() = default;
    };

    /// Once, before the first begin(). All outlive the job.
    void set_up(Owner& owner, const scsi::Disk& disk, backend::Backend& backend,
                std::uint8_t* zeroes) noexcept;

    /// Takes on a request's step; `data` is the task's whole buffer. The request stays in the
    /// state of replying until the step is over.
    void begin(engine::Request& request, std::span<std::uint8_t> data) noexcept;
    /// True when the step needs a buffer from the pool before it runs.
    [[nodiscard]] bool needs_scratch() const noexcept;

    [[nodiscard]] engine::Request& request() const noexcept { return *request_; }
    /// How the step ended. Once.
    [[nodiscard]] scsi::Answer answer() noexcept;

  private:
    [[nodiscard]] bool next_piece(backend::Request& piece) noexcept override;
    void over() noexcept override { owner_->job_over(*this); }

    void prepare() noexcept;
    [[nodiscard]] bool absorb_piece() noexcept;
    [[nodiscard]] bool next_descriptor() noexcept;
    [[nodiscard]] bool next_extents(backend::Request& piece) noexcept;
    void absorb_extents(const backend::Request& piece) noexcept;
    [[nodiscard]] bool tells_status() noexcept;
    void prepare_write() noexcept;

    Owner* owner_ = nullptr;
    const scsi::Disk* disk_ = nullptr;
    backend::Backend* backend_ = nullptr;
    std::uint8_t* zeroes_ = nullptr;

    engine::Request* request_ = nullptr;
    std::span<std::uint8_t> data_;
    bool prepared_ = false;
    backend::Operation operation_ = backend::Operation::read;
    backend::Range range_;
    std::size_t read_length_ = 0;    // bytes of the last piece, in the scratch buffer
    std::size_t read_position_ = 0;  // bytes of the step before it
    std::uint32_t descriptor_ = 0;   // index in the step of the next one
    scsi::LbaStatus status_;
    unsigned extents_asked_ = 0;  // pieces
    scsi::Answer answer_;
};

}  // namespace wnbd::iscsi
