// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver packages Windows keeps copies of.
#pragma once

#include <string>

#include "wnbd.h"

namespace wnbd::libwnbd {

/// Installs an INF for our hardware id. Success does not mean that a device took it.
[[nodiscard]] DWORD install_package(const std::wstring& inf_path, BOOL& reboot_required);

/// Uninstalls every package under %windir%\INF whose catalogue is wnbd.cat, by force. Goes on after
/// a failure and returns the last.
[[nodiscard]] DWORD uninstall_packages();

}  // namespace wnbd::libwnbd
