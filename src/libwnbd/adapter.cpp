// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/adapter.h"

#include <algorithm>
#include <cstddef>
#include <mutex>

#include "libwnbd/channel.h"
#include "libwnbd/device_nodes.h"
#include "libwnbd/log.h"

namespace wnbd::libwnbd {

namespace {

DWORD read_interface(HDEVINFO set, SP_DEVICE_INTERFACE_DATA& interface_data,
                     AdapterInterface& found) {
    DWORD needed = 0;
    SetupDiGetDeviceInterfaceDetailW(set, &interface_data, nullptr, 0, &needed, nullptr);
    if (GetLastError() != ERROR_INSUFFICIENT_BUFFER) return last_error();
    std::vector<std::byte> buffer(needed);
    auto* const detail = reinterpret_cast<SP_DEVICE_INTERFACE_DETAIL_DATA_W*>(buffer.data());
    detail->cbSize = sizeof(*detail);
    SP_DEVINFO_DATA device{};
    device.cbSize = sizeof(device);
    if (!SetupDiGetDeviceInterfaceDetailW(set, &interface_data, detail, needed, nullptr, &device))
        return last_error();
    wchar_t instance_id[MAX_DEVICE_ID_LEN]{};
    // By name, not by device.DevInst: not every implementation fills that in.
    if (!SetupDiGetDeviceInstanceIdW(set, &device, instance_id, MAX_DEVICE_ID_LEN, nullptr))
        return last_error();
    found = {detail->DevicePath, instance_id};
    return ERROR_SUCCESS;
}

/// An adapter that is disabled has no interface, but it is there.
bool has_device_node() {
    std::vector<std::wstring> nodes;
    if (find_device_nodes(nodes) != ERROR_SUCCESS) return false;
    DEVINST device = 0;
    return std::ranges::any_of(nodes, [&](const std::wstring& node) {
        return locate_device(node, device) == ERROR_SUCCESS;
    });
}

/// Where the adapter was found last. Finding it asks Windows's device manager, which takes longer
/// than most questions to the driver and may not answer at all when the system disk hangs.
struct KnownAdapter {
    std::mutex mutex;
    AdapterInterface value;
};

KnownAdapter& known_adapter() {
    static KnownAdapter& instance = *new KnownAdapter;  // threads may outlive the library's statics
    return instance;
}

AdapterInterface recall_adapter() {
    KnownAdapter& known = known_adapter();
    const std::lock_guard lock(known.mutex);
    return known.value;
}

void remember_adapter(const AdapterInterface& found) {
    KnownAdapter& known = known_adapter();
    const std::lock_guard lock(known.mutex);
    known.value = found;
}

DWORD open_first_adapter(UniqueHandle& adapter, AdapterInterface& opened) {
    // A path that still opens is still an adapter's: it names the interface, too.
    opened = recall_adapter();
    if (!opened.path.empty() && open_adapter(opened.path, adapter) == ERROR_SUCCESS)
        return ERROR_SUCCESS;
    std::vector<AdapterInterface> adapters;
    DWORD error = find_adapters(adapters);
    if (error != ERROR_SUCCESS) return error;
    if (adapters.empty()) return has_device_node() ? ERROR_FILE_NOT_FOUND : ERROR_NO_MORE_ITEMS;
    error = open_adapter(adapters.front().path, adapter);
    if (error != ERROR_SUCCESS) return error;
    opened = adapters.front();
    remember_adapter(opened);
    return ERROR_SUCCESS;
}

}  // namespace

DWORD find_adapters(std::vector<AdapterInterface>& adapters) {
    const DeviceSet set(
        SetupDiGetClassDevsW(&WNBD_GUID, nullptr, nullptr, DIGCF_PRESENT | DIGCF_DEVICEINTERFACE));
    if (!set.valid()) return last_error();
    for (DWORD index = 0;; ++index) {
        SP_DEVICE_INTERFACE_DATA interface_data{};
        interface_data.cbSize = sizeof(interface_data);
        if (!SetupDiEnumDeviceInterfaces(set.get(), nullptr, &WNBD_GUID, index, &interface_data)) {
            const DWORD error = last_error();
            return error == ERROR_NO_MORE_ITEMS ? ERROR_SUCCESS : error;
        }
        AdapterInterface found;
        const DWORD error = read_interface(set.get(), interface_data, found);
        if (error != ERROR_SUCCESS) return error;
        adapters.push_back(std::move(found));
    }
}

DWORD open_adapter(const std::wstring& path, UniqueHandle& adapter) {
    UniqueHandle handle(CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE,
                                    FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr, OPEN_EXISTING,
                                    FILE_FLAG_OVERLAPPED, nullptr));
    if (!handle.valid()) return last_error();
    adapter = std::move(handle);
    return ERROR_SUCCESS;
}

DWORD open_adapter_interface(UniqueHandle& adapter) {
    AdapterInterface opened;
    return open_first_adapter(adapter, opened);
}

DWORD open_own_adapter(UniqueHandle& adapter) {
    const DWORD error = open_adapter_interface(adapter);
    if (error == ERROR_SUCCESS) return ERROR_SUCCESS;
    LOG_WARNING("could not open the WNBD adapter: %s", error_text(error).c_str());
    return ERROR_OPEN_FAILED;
}

DWORD locate_device(const std::wstring& instance_id, DEVINST& device) {
    if (instance_id.empty()) return error_no_such_device;
    std::wstring id = instance_id;  // the call wants it writable
    const CONFIGRET result = CM_Locate_DevNodeW(&device, id.data(), CM_LOCATE_DEVNODE_NORMAL);
    if (result == CR_SUCCESS) return ERROR_SUCCESS;
    LOG_DEBUG("no device node of %s: CONFIGRET %#lx", to_utf8(instance_id).c_str(), result);
    return error_no_such_device;
}

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdOpenAdapter(PHANDLE Handle) {
    if (Handle == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&]() -> DWORD {
        UniqueHandle adapter;
        const DWORD error = open_adapter_interface(adapter);
        if (error == ERROR_SUCCESS) *Handle = adapter.release();
        return error;
    });
}

DWORD WnbdGetAdapterDevInst(PDEVINST DeviceInst) {
    if (DeviceInst == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&]() -> DWORD {
        UniqueHandle adapter;
        AdapterInterface opened;
        const DWORD error = open_first_adapter(adapter, opened);
        if (error != ERROR_SUCCESS) return error;
        DEVINST device = 0;
        const DWORD located = locate_device(opened.instance_id, device);
        if (located == ERROR_SUCCESS) *DeviceInst = device;
        return located;
    });
}

}  // extern "C"
