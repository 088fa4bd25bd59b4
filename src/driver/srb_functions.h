// SPDX-License-Identifier: LGPL-2.1-or-later
// SRBs that are answered at once, without a request to user space. Each function fills the SRB's
// data and returns its status; any IRQL up to DISPATCH_LEVEL.
#pragma once

#include "driver/srb_view.h"
#include "engine/adapter.h"

namespace wnbd::driver {

/// Fills an SRB's status, SCSI status, sense data and length from an answer.
void apply_answer(SrbView view, const scsi::Answer& answer) noexcept;

// Each fills the SRB's data and returns the status it is to end with.
[[nodiscard]] UCHAR answer_pnp(const engine::UnitReference& unit, SrbView view) noexcept;
[[nodiscard]] UCHAR answer_io_control(const engine::UnitReference& unit, SrbView view) noexcept;

}  // namespace wnbd::driver
