// SPDX-License-Identifier: LGPL-2.1-or-later
// What went wrong at the storage, as the sense data that initiators understand.
#pragma once

#include "backend/backend.h"
#include "scsi/sense.h"

namespace wnbd::backend {

/// The sense data of a failed request; `error` is not Error::none.
///   not_permitted  a change: DATA PROTECT, write protected; else ILLEGAL REQUEST, access denied
///   io             MEDIUM ERROR, unrecovered read error or write error
///   no_memory      ABORTED COMMAND, insufficient resources: initiators try again
///   invalid        ILLEGAL REQUEST, invalid field in CDB (overflow too)
///   no_space       DATA PROTECT, space allocation failed (SBC-3 4.7.3.6)
///   not_supported  ILLEGAL REQUEST, invalid command operation code
///   shutting_down  NOT READY, cause not reportable
///   disconnected   NOT READY, logical unit communication failure
[[nodiscard]] scsi::Sense sense_of(Operation operation, Error error) noexcept;

}  // namespace wnbd::backend
