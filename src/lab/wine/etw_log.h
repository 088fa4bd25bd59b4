// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace wnbd::lab::wine {

/// From now on there is a System log, and what sessions get goes to C:\windows\temp.
void start_event_log();

}  // namespace wnbd::lab::wine
