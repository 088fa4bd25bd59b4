// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace wnbd::lab::cfgmgr {

/// Makes modules that import this DLL open device interfaces as Windows's I/O manager lets them:
/// by the security descriptor that the device's INF gave it, and the process's token. Wine asks
/// neither, and ignores a driver that refuses IRP_MJ_CREATE. To be called once, from DllMain.
void guard_interfaces();

}  // namespace wnbd::lab::cfgmgr
