// SPDX-License-Identifier: LGPL-2.1-or-later
// The ioctl structures of the public ABI, for code that includes no Windows header of its own.
#pragma once

// clang-format off: the ABI needs the types first
#include "base/windows_types.h"
#include "wnbd_ioctl.h"
// clang-format on
