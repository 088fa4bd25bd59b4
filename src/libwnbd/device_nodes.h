// SPDX-License-Identifier: LGPL-2.1-or-later
// The root-enumerated device nodes of the adapter, as SetupAPI sees them.
#pragma once

#include <string>
#include <vector>

#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

/// Makes a device node for the class an INF is of. `instance_id` receives its name.
[[nodiscard]] DWORD create_device_node(const std::wstring& inf_path, std::wstring& instance_id);

/// The instance ids of our device nodes, present or left over.
[[nodiscard]] DWORD find_device_nodes(std::vector<std::wstring>& instance_ids);

/// The problem code (CM_PROB_...) of a device that does not work; 0 when there is none or it is not
/// known.
[[nodiscard]] ULONG device_problem(const std::wstring& instance_id);

/// Removes every device node with our hardware id, present or left over, whose class is none or
/// SCSI adapter. Goes on after a failure and returns the first. `reboot_required` is only ever set.
[[nodiscard]] DWORD remove_device_nodes(BOOL& reboot_required);

}  // namespace wnbd::libwnbd
