// SPDX-License-Identifier: LGPL-2.1-or-later
// Finding and opening the adapter.
#pragma once

#include <string>
#include <vector>

#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

struct AdapterInterface {
    std::wstring path;         // for CreateFile
    std::wstring instance_id;  // of the device node
};

/// The adapters that are present. Throws std::bad_alloc.
[[nodiscard]] DWORD find_adapters(std::vector<AdapterInterface>& adapters);

/// Opens an adapter for overlapped I/O.
[[nodiscard]] DWORD open_adapter(const std::wstring& path, UniqueHandle& adapter);

/// WnbdOpenAdapter.
[[nodiscard]] DWORD open_adapter_interface(UniqueHandle& adapter);

/// WnbdOpenAdapter with the error that functions give which open the adapter by themselves:
/// ERROR_OPEN_FAILED, the reason logged.
[[nodiscard]] DWORD open_own_adapter(UniqueHandle& adapter);

/// The device node of an instance id. error_no_such_device if there is none (now). An empty id is
/// refused: to CM_Locate_DevNode it would mean the root of the device tree.
[[nodiscard]] DWORD locate_device(const std::wstring& instance_id, DEVINST& device);

}  // namespace wnbd::libwnbd
