// SPDX-License-Identifier: LGPL-2.1-or-later
// The public structures, for files that are also built and tested without Windows.
#pragma once

#if defined(_WIN32)
#include "wnbd.h"
#else
#include "base/windows_types.h"
#include "wnbd_ioctl.h"
#endif
