// SPDX-License-Identifier: LGPL-2.1-or-later
// What went wrong, as the sense data that Windows understands.
#pragma once

#include "backend/backend.h"
#include "libwnbd/abi.h"
#include "scsi/sense.h"

namespace wnbd::libwnbd {

/// CHECK CONDITION with this sense.
[[nodiscard]] WNBD_STATUS check_condition(const scsi::Sense& sense) noexcept;

/// The status of a finished backend request: all zero for Error::none.
///   not_permitted  a change: DATA PROTECT, write protected; else ILLEGAL REQUEST, access denied
///   io             MEDIUM ERROR, unrecovered read error or write error
///   no_memory      ABORTED COMMAND, insufficient resources: Windows tries again
///   invalid        ILLEGAL REQUEST, invalid field in CDB (overflow too)
///   no_space       DATA PROTECT, space allocation failed (SBC-3 4.7.3.6)
///   not_supported  ILLEGAL REQUEST, invalid command operation code
///   shutting_down  NOT READY, cause not reportable
///   disconnected   NOT READY, logical unit communication failure
[[nodiscard]] WNBD_STATUS status_of(backend::Operation operation, backend::Error error) noexcept;

}  // namespace wnbd::libwnbd
