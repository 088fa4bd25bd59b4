// SPDX-License-Identifier: LGPL-2.1-or-later
// The structures of the public ABI, on Windows and in native tests alike.
#pragma once

#if defined(_WIN32)
#include <windows.h>
#else
#include "base/windows_types.h"
#endif

#include "wnbd_ioctl.h"
