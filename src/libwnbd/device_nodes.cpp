// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/device_nodes.h"

#include <cwchar>
#include <vector>

#include "libwnbd/adapter.h"
#include "libwnbd/log.h"

namespace wnbd::libwnbd {

namespace {

// GUID_DEVCLASS_SCSIADAPTER
constexpr GUID scsi_adapter_class = {
    0x4d36e97b, 0xe325, 0x11ce, {0xbf, 0xc1, 0x08, 0x00, 0x2b, 0xe1, 0x03, 0x18}};

const std::wstring hardware_id = L"root\\wnbd";

/// The names of a device, one after the other in a multi-string.
std::vector<std::wstring> hardware_ids(HDEVINFO set, SP_DEVINFO_DATA& device) {
    DWORD type = 0;
    DWORD bytes = 0;
    SetupDiGetDeviceRegistryPropertyW(set, &device, SPDRP_HARDWAREID, &type, nullptr, 0, &bytes);
    std::vector<std::wstring> ids;
    if (bytes == 0) return ids;
    // Two more, so that it ends whatever the registry holds.
    std::vector<wchar_t> text(bytes / sizeof(wchar_t) + 2);
    if (!SetupDiGetDeviceRegistryPropertyW(set, &device, SPDRP_HARDWAREID, &type,
                                           reinterpret_cast<PBYTE>(text.data()), bytes, nullptr) ||
        (type != REG_MULTI_SZ && type != REG_SZ))
        return ids;
    for (const wchar_t* id = text.data(); *id != L'\0'; id += ids.back().size() + 1)
        ids.emplace_back(id);
    return ids;
}

bool is_ours(HDEVINFO set, SP_DEVINFO_DATA& device) {
    if (!IsEqualGUID(device.ClassGuid, GUID{}) &&
        !IsEqualGUID(device.ClassGuid, scsi_adapter_class))
        return false;
    for (const auto& id : hardware_ids(set, device))
        if (_wcsicmp(id.c_str(), hardware_id.c_str()) == 0) return true;
    return false;
}

DWORD remove_device_node(HDEVINFO set, SP_DEVINFO_DATA& device, BOOL& reboot_required) {
    SP_REMOVEDEVICE_PARAMS parameters{};
    parameters.ClassInstallHeader.cbSize = sizeof(parameters.ClassInstallHeader);
    parameters.ClassInstallHeader.InstallFunction = DIF_REMOVE;
    parameters.Scope = DI_REMOVEDEVICE_GLOBAL;
    // Without parameters the removal is global as well.
    if (!SetupDiSetClassInstallParamsW(set, &device, &parameters.ClassInstallHeader,
                                       sizeof(parameters)))
        LOG_DEBUG("no parameters for the removal: %s", error_text(last_error()).c_str());
    if (!SetupDiCallClassInstaller(DIF_REMOVE, set, &device)) return last_error();
    SP_DEVINSTALL_PARAMS_W result{};
    result.cbSize = sizeof(result);
    if (SetupDiGetDeviceInstallParamsW(set, &device, &result) &&
        (result.Flags & (DI_NEEDREBOOT | DI_NEEDRESTART)) != 0)
        reboot_required = TRUE;
    return ERROR_SUCCESS;
}

DWORD register_device_node(HDEVINFO set, const wchar_t* class_name, const GUID& class_guid,
                           std::wstring& instance_id) {
    SP_DEVINFO_DATA device{};
    device.cbSize = sizeof(device);
    if (!SetupDiCreateDeviceInfoW(set, class_name, &class_guid, nullptr, nullptr, DICD_GENERATE_ID,
                                  &device))
        return last_error();
    // A multi-string: the second terminator ends the list.
    const std::wstring ids = hardware_id + std::wstring(2, L'\0');
    if (!SetupDiSetDeviceRegistryPropertyW(set, &device, SPDRP_HARDWAREID,
                                           reinterpret_cast<const BYTE*>(ids.data()),
                                           static_cast<DWORD>(ids.size() * sizeof(wchar_t))))
        return last_error();
    if (!SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, &device)) return last_error();
    wchar_t id[MAX_DEVICE_ID_LEN]{};
    if (SetupDiGetDeviceInstanceIdW(set, &device, id, MAX_DEVICE_ID_LEN, nullptr)) instance_id = id;
    return ERROR_SUCCESS;
}

}  // namespace

DWORD create_device_node(const std::wstring& inf_path, std::wstring& instance_id) {
    GUID class_guid{};
    wchar_t class_name[MAX_CLASS_NAME_LEN]{};
    if (!SetupDiGetINFClassW(inf_path.c_str(), &class_guid, class_name, MAX_CLASS_NAME_LEN,
                             nullptr))
        return last_error();
    const DeviceSet set(SetupDiCreateDeviceInfoList(&class_guid, nullptr));
    if (!set.valid()) return last_error();
    return register_device_node(set.get(), class_name, class_guid, instance_id);
}

DWORD find_device_nodes(std::vector<std::wstring>& instance_ids) {
    const DeviceSet set(SetupDiGetClassDevsW(nullptr, L"ROOT", nullptr, DIGCF_ALLCLASSES));
    if (!set.valid()) return last_error();
    for (DWORD index = 0;; ++index) {
        SP_DEVINFO_DATA device{};
        device.cbSize = sizeof(device);
        if (!SetupDiEnumDeviceInfo(set.get(), index, &device)) return ERROR_SUCCESS;
        wchar_t id[MAX_DEVICE_ID_LEN]{};
        if (is_ours(set.get(), device) &&
            SetupDiGetDeviceInstanceIdW(set.get(), &device, id, MAX_DEVICE_ID_LEN, nullptr))
            instance_ids.emplace_back(id);
    }
}

ULONG device_problem(const std::wstring& instance_id) {
    DEVINST device = 0;
    ULONG status = 0;
    ULONG problem = 0;
    if (locate_device(instance_id, device) != ERROR_SUCCESS ||
        CM_Get_DevNode_Status(&status, &problem, device, 0) != CR_SUCCESS)
        return 0;
    return (status & DN_HAS_PROBLEM) != 0 ? problem : 0;
}

DWORD remove_device_nodes(BOOL& reboot_required) {
    // Not only what is present: nodes without a driver are just what is to be cleaned up.
    const DeviceSet set(SetupDiGetClassDevsW(nullptr, L"ROOT", nullptr, DIGCF_ALLCLASSES));
    if (!set.valid()) return last_error();
    DWORD first_error = ERROR_SUCCESS;
    for (DWORD index = 0;; ++index) {
        SP_DEVINFO_DATA device{};
        device.cbSize = sizeof(device);
        if (!SetupDiEnumDeviceInfo(set.get(), index, &device)) break;
        if (!is_ours(set.get(), device)) continue;
        const DWORD error = remove_device_node(set.get(), device, reboot_required);
        if (error == ERROR_SUCCESS) continue;
        LOG_ERROR("could not remove a device node: %s", error_text(error).c_str());
        if (first_error == ERROR_SUCCESS) first_error = error;
    }
    return first_error;
}

}  // namespace wnbd::libwnbd
