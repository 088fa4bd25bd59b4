// SPDX-License-Identifier: LGPL-2.1-or-later
// What went wrong, as the sense data that Windows understands.
#pragma once

#include "backend/backend.h"
#include "libwnbd/abi.h"
#include "scsi/sense.h"

namespace wnbd::libwnbd {

/// CHECK CONDITION with this sense.
[[nodiscard]] WNBD_STATUS check_condition(const scsi::Sense& sense) noexcept;

/// The status of a finished backend request: all zero for Error::none, else what
/// backend::sense_of() says.
[[nodiscard]] WNBD_STATUS status_of(backend::Operation operation, backend::Error error) noexcept;

}  // namespace wnbd::libwnbd
