// SPDX-License-Identifier: LGPL-2.1-or-later
// One view of the two forms an SRB comes in: SCSI_REQUEST_BLOCK and STORAGE_REQUEST_BLOCK. Offsets
// inside an extended SRB are checked against its length before they are followed.
#pragma once

#include <cstdint>
#include <span>

#include "driver/ddk/srb.h"
#include "scsi/command.h"

namespace wnbd::driver {

struct SrbAddress {
    UCHAR path = 0;
    UCHAR target = 0;
    UCHAR lun = 0;
};

struct SrbPnp {
    bool present = false;
    STOR_PNP_ACTION action{};
    ULONG flags = 0;
};

class SrbView {
  public:
    explicit SrbView(void* srb) noexcept
        : classic_(static_cast<SCSI_REQUEST_BLOCK*>(srb)),
          extended_(classic_->Function == SRB_FUNCTION_STORAGE_REQUEST_BLOCK
                        ? static_cast<STORAGE_REQUEST_BLOCK*>(srb)
                        : nullptr) {}

    [[nodiscard]] void* srb() const noexcept { return classic_; }
    [[nodiscard]] ULONG function() const noexcept {
        return extended_ != nullptr ? extended_->SrbFunction : classic_->Function;
    }
    [[nodiscard]] ULONG flags() const noexcept {
        return extended_ != nullptr ? extended_->SrbFlags : classic_->SrbFlags;
    }
    [[nodiscard]] SrbAddress address() const noexcept;

    [[nodiscard]] ULONG data_length() const noexcept {
        return extended_ != nullptr ? extended_->DataTransferLength : classic_->DataTransferLength;
    }
    void set_data_length(ULONG length) noexcept {
        (extended_ != nullptr ? extended_->DataTransferLength : classic_->DataTransferLength) =
            length;
    }
    /// The buffer where Storport has mapped it, which is: not for READ and WRITE commands.
    [[nodiscard]] std::span<std::uint8_t> data_buffer() const noexcept {
        auto* const bytes = static_cast<std::uint8_t*>(extended_ != nullptr ? extended_->DataBuffer
                                                                            : classic_->DataBuffer);
        if (bytes == nullptr) return {};
        return {bytes, data_length()};
    }

    /// Storport locks the initiator's pages for reading only when data goes out. Where an SRB says
    /// neither, or both, it is left to the command.
    [[nodiscard]] scsi::BufferUse buffer_use() const noexcept;

    /// Empty when there is none.
    [[nodiscard]] std::span<const std::uint8_t> cdb() const noexcept;
    /// Empty when there is none, or the initiator does not want sense data.
    [[nodiscard]] std::span<std::uint8_t> sense_buffer() const noexcept;
    void set_scsi_status(UCHAR status) noexcept;
    /// How much of the sense buffer was filled, which whoever filled less than all of it must say.
    void set_sense_length(UCHAR length) noexcept;

    /// The per-SRB memory that HW_INITIALIZATION_DATA::SrbExtensionSize asked for.
    [[nodiscard]] void* extension() const noexcept {
        return extended_ != nullptr ? extended_->MiniportContext : classic_->SrbExtension;
    }
    /// The SRB that an ABORT_COMMAND is about.
    [[nodiscard]] void* victim() const noexcept {
        return extended_ != nullptr ? static_cast<void*>(extended_->NextSrb) : classic_->NextSrb;
    }
    [[nodiscard]] SrbPnp pnp() const noexcept;

    void set_status(UCHAR status) noexcept { classic_->SrbStatus = status; }
    [[nodiscard]] UCHAR status() const noexcept { return classic_->SrbStatus; }
    /// Goes with SRB_STATUS_INTERNAL_ERROR: why.
    void set_system_status(std::int32_t nt_status) noexcept {
        (extended_ != nullptr ? extended_->SystemStatus : classic_->InternalStatus) =
            static_cast<ULONG>(nt_status);
    }

  private:
    /// The first block of this type, wholly inside the SRB, or nullptr.
    template <typename T>
    [[nodiscard]] T* block(SRBEXDATATYPE type) const noexcept;
    /// Shows the part that all forms of a SCSI request have under the same names: status and sense.
    template <typename Look>
    void scsi_part(Look look) const noexcept;
    /// What of a variable-length CDB fits the SRB.
    [[nodiscard]] std::span<const std::uint8_t> variable_cdb(
        const SRBEX_DATA_SCSI_CDB_VAR& block) const noexcept;
    [[nodiscard]] bool is_scsi() const noexcept { return function() == SRB_FUNCTION_EXECUTE_SCSI; }

    SCSI_REQUEST_BLOCK* classic_;      // the first four bytes are common to both forms
    STORAGE_REQUEST_BLOCK* extended_;  // nullptr for a classic SRB
};

/// True for the commands whose buffer Storport leaves unmapped (STOR_MAP_NON_READ_WRITE_BUFFERS):
/// READ and WRITE of 6, 10, 12 and 16 bytes.
[[nodiscard]] bool is_read_or_write(std::span<const std::uint8_t> cdb) noexcept;

}  // namespace wnbd::driver
