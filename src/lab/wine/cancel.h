// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace wnbd::lab::wine {

/// Puts cancel_irp() in the place of Wine's IoCancelIrp. False when Wine's kernel has none or its
/// code can't be changed. Called once, from DllMain.
bool replace_cancelling();

}  // namespace wnbd::lab::wine
