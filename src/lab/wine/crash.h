// SPDX-License-Identifier: LGPL-2.1-or-later
// What is left of a crash in Wine's kernel process: its callers, in the driver's log.
#pragma once

namespace wnbd::lab::wine {

/// From now on an exception that nobody handles tells where it was and who called, module by
/// module, for addr2line.
void tell_of_crashes();

}  // namespace wnbd::lab::wine
