// SPDX-License-Identifier: LGPL-2.1-or-later
// What the log says of calls from user space.
#pragma once

#include "ioctl/control.h"

namespace wnbd::driver {

/// `command` is the call's number before it was handled: the reply is where the command was.
/// PASSIVE_LEVEL.
void log_call(std::uint32_t command, const ioctl::Call& call,
              const ioctl::Completion& completion) noexcept;

}  // namespace wnbd::driver
