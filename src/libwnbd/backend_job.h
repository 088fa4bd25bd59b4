// SPDX-License-Identifier: LGPL-2.1-or-later
// One request of the driver, served by a backend: cut into pieces the backend takes, submitted one
// after the other, answered once.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "backend/backend.h"
#include "backend/pieces.h"
#include "libwnbd/abi.h"
#include "scsi/sense.h"

namespace wnbd::libwnbd {

/// The disk a job belongs to. Constant while jobs run, but for its size.
struct ServedDisk {
    backend::Backend* backend = nullptr;
    std::atomic<std::uint64_t> block_count{0};
    std::uint32_t block_size = 0;       // bytes
    std::uint32_t unmap_count_max = 1;  // descriptors
};

/// Reusable, one request at a time. The buffer is the caller's: write payload and unmap descriptors
/// are taken from it, read data goes to it; nothing is copied.
class BackendJob : private backend::Pieces {
  public:
    /// Receives the end of each job, on whatever thread the backend completes on (which may be the
    /// one in start()). The job may be started anew, or destroyed, from there.
    class Owner {
      public:
        /// `data_length`: bytes of read data in the buffer; 0 for everything but a good read.
        /// `error`: what the backend said, Error::none also for requests refused before it.
        virtual void finished(BackendJob& job, const WNBD_STATUS& status, std::uint32_t data_length,
                              backend::Error error) noexcept = 0;

      protected:
        ~Owner() = default;
    };

    explicit BackendJob(Owner& owner) noexcept : owner_(owner) {}

    /// Begins to serve a request. A request that makes no sense (out of range, larger than the
    /// buffer, an unknown type) is finished at once with ILLEGAL REQUEST. Does not throw.
    void start(const ServedDisk& disk, const WNBD_IO_REQUEST& request,
               std::span<std::uint8_t> buffer) noexcept;

    /// The request of the last start().
    [[nodiscard]] const WNBD_IO_REQUEST& request() const noexcept { return request_; }

  private:
    [[nodiscard]] bool prepare_transfer(backend::Operation operation, std::uint64_t block_address,
                                        std::uint32_t block_count, bool force_unit_access) noexcept;
    [[nodiscard]] bool prepare_unmap() noexcept;
    [[nodiscard]] bool next_piece(backend::Request& piece) noexcept override;
    [[nodiscard]] bool next_range() noexcept;
    void over() noexcept override;
    void refuse(scsi::AdditionalSense additional) noexcept;

    Owner& owner_;
    const ServedDisk* disk_ = nullptr;
    WNBD_IO_REQUEST request_{};
    std::span<std::uint8_t> buffer_;
    backend::Operation operation_ = backend::Operation::read;
    bool force_unit_access_ = false;
    bool flush_after_ = false;       // a flush, or what stands in for force unit access
    backend::Range range_;           // the transfer, or the current descriptor's
    std::uint32_t length_ = 0;       // bytes of the transfer
    std::uint32_t descriptors_ = 0;  // in the list
    std::uint32_t descriptor_ = 0;   // index of the next one
};

}  // namespace wnbd::libwnbd
