// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests turned into SRBs of either form, and the miniport's answer read back from them.
#pragma once

#include <cstdint>

#include "driver/ddk/storport.h"
#include "lab/storport/port.h"

namespace wnbd::lab {

/// What the port adds to a Request when it makes an SRB of it.
struct SrbParts {
    void* sense = nullptr;
    std::uint8_t sense_length = 0;
    void* extension = nullptr;    ///< the miniport's SrbExtension memory
    void* data_buffer = nullptr;  ///< as the miniport shall see it
    void* next = nullptr;         ///< NextSrb: with ABORT_COMMAND, the SRB to abort
    std::uint32_t flags = 0;      ///< SRB_FLAGS_*
    std::uint32_t tag = 0;
};

/// `memory`: 256 zeroed bytes, 8-byte aligned.
void build_srb(void* memory, bool extended, const Request& request, const SrbParts& parts);

[[nodiscard]] bool is_read_or_write(const Request& request);

/// The answer, as the fields lie in the SRB.
struct SrbAnswer {
    std::uint8_t raw_status;
    std::uint8_t scsi_status;
    std::uint8_t sense_length;
    std::uint32_t transferred;
    std::int32_t system_status;
};
[[nodiscard]] SrbAnswer read_answer(const void* memory, bool extended);

}  // namespace wnbd::lab
