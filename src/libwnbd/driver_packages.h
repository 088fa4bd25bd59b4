// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver packages Windows keeps copies of.
#pragma once

#include <string>

#include "wnbd.h"

namespace wnbd::libwnbd {

/// Whether an INF can be installed: it can be read, it is WNBD's (its catalogue is wnbd.cat), and
/// the files that it lists lie beside it. ERROR_INVALID_DATA, ERROR_FILE_NOT_FOUND or what reading
/// gave; the log tells details. Windows itself would ask for a missing file, in a window that
/// nobody may see, and calls success what fits no device.
[[nodiscard]] DWORD check_package(const std::wstring& inf_path);

/// Whether a device runs just what lies beside an INF: its own INF, as Windows keeps it, and the
/// installed files have the same content. False when that cannot be found out.
[[nodiscard]] bool device_has_package(const std::wstring& instance_id,
                                      const std::wstring& inf_path);

/// Installs an INF for our hardware id. Success does not mean that a device took it.
[[nodiscard]] DWORD install_package(const std::wstring& inf_path, BOOL& reboot_required);

/// Uninstalls every package under %windir%\INF whose catalogue is wnbd.cat, by force. Goes on after
/// a failure and returns the last. The service's entry stays, and with it the options that are kept
/// there.
[[nodiscard]] DWORD uninstall_packages();

}  // namespace wnbd::libwnbd
