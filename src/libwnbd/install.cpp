// SPDX-License-Identifier: LGPL-2.1-or-later
// Installing and uninstalling the driver: the order of things.
#include <algorithm>
#include <string>
#include <vector>

#include "libwnbd/adapter.h"
#include "libwnbd/device_nodes.h"
#include "libwnbd/driver_packages.h"
#include "libwnbd/log.h"

using namespace wnbd::libwnbd;

namespace {

/// How long a freshly installed driver may take to show its adapter.
constexpr DWORD adapter_appears_ms = 15000;
constexpr DWORD adapter_poll_ms = 100;

/// How long another installation may take, before this one gives up.
constexpr DWORD other_installation_ms = 120000;

/// One installation or uninstallation at a time: two at once would each find no adapter, and each
/// make one.
class InstallationLock {
  public:
    InstallationLock() noexcept
        : mutex_(CreateMutexW(nullptr, FALSE, L"Global\\WnbdInstallation")),
          error_(mutex_.valid() ? wait() : last_error()) {}
    InstallationLock(const InstallationLock&) = delete;
    InstallationLock& operator=(const InstallationLock&) = delete;
    ~InstallationLock() {
        if (error_ == ERROR_SUCCESS) ReleaseMutex(mutex_.get());
    }

    [[nodiscard]] DWORD error() const noexcept { return error_; }

  private:
    [[nodiscard]] DWORD wait() const noexcept {
        switch (WaitForSingleObject(mutex_.get(), other_installation_ms)) {
            case WAIT_OBJECT_0:
            case WAIT_ABANDONED: return ERROR_SUCCESS;
            case WAIT_TIMEOUT: return ERROR_BUSY;
            default: return last_error();
        }
    }

    UniqueHandle mutex_;
    DWORD error_;
};

/// Windows itself tells the truth only here; GetVersionEx depends on the program's manifest.
bool windows_is_new_enough() {
    using RtlGetVersion = LONG(WINAPI*)(RTL_OSVERSIONINFOW*);
    const auto get_version = reinterpret_cast<RtlGetVersion>(
        // NOLINTNEXTLINE(bugprone-casting-through-void): what GetProcAddress is made for
        reinterpret_cast<void*>(GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "RtlGetVersion")));
    RTL_OSVERSIONINFOW version{};
    version.dwOSVersionInfoSize = sizeof(version);
    if (get_version == nullptr || get_version(&version) != 0) return false;
    const std::vector<DWORD> found = {version.dwMajorVersion, version.dwMinorVersion,
                                      version.dwBuildNumber};
    const std::vector<DWORD> needed = {WNBD_REQ_WIN_VERSION_MAJOR, WNBD_REQ_WIN_VERSION_MINOR,
                                       WNBD_REQ_WIN_VERSION_BUILD};
    if (found >= needed) return true;
    LOG_ERROR("Windows %lu.%lu.%lu is too old, %lu.%lu.%lu is needed", found[0], found[1], found[2],
              needed[0], needed[1], needed[2]);
    return false;
}

/// UTF-8, or the active code page where it is not valid UTF-8.
std::wstring to_wide(const char* text) {
    for (const UINT code_page : {static_cast<UINT>(CP_UTF8), static_cast<UINT>(CP_ACP)}) {
        const DWORD flags = code_page == CP_UTF8 ? MB_ERR_INVALID_CHARS : 0;
        const int units = MultiByteToWideChar(code_page, flags, text, -1, nullptr, 0);
        if (units <= 0) continue;
        std::wstring wide(static_cast<std::size_t>(units), L'\0');
        MultiByteToWideChar(code_page, flags, text, -1, wide.data(), units);
        wide.pop_back();
        return wide;
    }
    return {};
}

DWORD full_path(const char* name, std::wstring& path) {
    const std::wstring wide = to_wide(name);
    const DWORD units = GetFullPathNameW(wide.c_str(), 0, nullptr, nullptr);
    if (units == 0) return last_error();
    path.resize(units);
    const DWORD length = GetFullPathNameW(wide.c_str(), units, path.data(), nullptr);
    if (length == 0 || length >= units) return last_error();
    path.resize(length);
    const DWORD attributes = GetFileAttributesW(path.c_str());
    if (attributes == INVALID_FILE_ATTRIBUTES || (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
        LOG_ERROR("no file %s", to_utf8(path).c_str());
        return ERROR_FILE_NOT_FOUND;
    }
    return ERROR_SUCCESS;
}

/// The installation calls success what no device has taken, so the adapter itself must be seen.
DWORD wait_for_adapter() {
    const ULONGLONG begin = GetTickCount64();
    for (;;) {
        std::vector<AdapterInterface> adapters;
        const DWORD error = find_adapters(adapters);
        if (error != ERROR_SUCCESS) return error;
        if (!adapters.empty()) return ERROR_SUCCESS;
        if (GetTickCount64() - begin > adapter_appears_ms) return ERROR_DEVICE_NOT_AVAILABLE;
        Sleep(adapter_poll_ms);
    }
}

/// Why a device does not start, as Device Manager would say it.
std::string problem_text(const std::wstring& instance_id) {
    const ULONG problem = device_problem(instance_id);
    if (problem == 0) return "";
    const char* const reason = problem == CM_PROB_UNSIGNED_DRIVER
                                   ? ": Windows does not accept the driver's signature"
                                   : "";
    return " (code " + std::to_string(problem) + reason + ")";
}

DWORD create_adapter(const std::wstring& inf_path, BOOL& reboot_required) {
    std::wstring instance_id;
    DWORD error = create_device_node(inf_path, instance_id);
    if (error != ERROR_SUCCESS) {
        LOG_ERROR("could not create the device node: %s", error_text(error).c_str());
        return error;
    }
    error = install_package(inf_path, reboot_required);
    if (error != ERROR_SUCCESS) {
        LOG_ERROR("could not install %s: %s", to_utf8(inf_path).c_str(), error_text(error).c_str());
        return error;
    }
    if (reboot_required) return ERROR_SUCCESS;
    error = wait_for_adapter();
    if (error != ERROR_SUCCESS) {
        // Said here, since what comes next is taking the device back.
        LOG_ERROR("%s did not start: %s%s", to_utf8(instance_id).c_str(), error_text(error).c_str(),
                  problem_text(instance_id).c_str());
    }
    return error;
}

DWORD remove_disks(const AdapterInterface& found) {
    UniqueHandle adapter;
    const DWORD error = open_adapter(found.path, adapter);
    if (error == ERROR_FILE_NOT_FOUND) return ERROR_SUCCESS;  // disabled: it has no disks
    if (error != ERROR_SUCCESS) return error;
    return WnbdRemoveAllDisks(adapter.get());
}

DWORD uninstall(BOOL& reboot_required) {
    std::vector<AdapterInterface> adapters;
    DWORD error = find_adapters(adapters);
    if (error != ERROR_SUCCESS) return error;
    for (const auto& adapter : adapters) {
        error = remove_disks(adapter);
        if (error != ERROR_SUCCESS) {
            LOG_ERROR("could not remove the disks of %s: %s", to_utf8(adapter.instance_id).c_str(),
                      error_text(error).c_str());
            return error;
        }
    }
    error = remove_device_nodes(reboot_required);
    const DWORD package_error = uninstall_packages();
    return package_error != ERROR_SUCCESS ? package_error : error;
}

/// Installing twice is installing once; but what runs is never replaced underneath its disks.
DWORD installed_already(const std::vector<AdapterInterface>& adapters,
                        const std::wstring& inf_path) {
    const bool same = std::ranges::all_of(adapters, [&inf_path](const AdapterInterface& adapter) {
        return device_has_package(adapter.instance_id, inf_path);
    });
    if (!same) {
        LOG_ERROR("another WNBD driver is installed");
        return ERROR_DUPLICATE_FOUND;
    }
    LOG_INFO("%s is installed already", to_utf8(inf_path).c_str());
    return ERROR_SUCCESS;
}

DWORD install(const char* file_name, BOOL& reboot_required) {
    if (!windows_is_new_enough()) return ERROR_NOT_SUPPORTED;
    std::wstring inf_path;
    DWORD error = full_path(file_name, inf_path);
    if (error != ERROR_SUCCESS) return error;
    error = check_package(inf_path);
    if (error != ERROR_SUCCESS) return error;
    std::vector<AdapterInterface> adapters;
    error = find_adapters(adapters);
    if (error != ERROR_SUCCESS) return error;
    if (!adapters.empty()) return installed_already(adapters, inf_path);
    error = remove_device_nodes(reboot_required);
    if (error != ERROR_SUCCESS) return error;
    error = create_adapter(inf_path, reboot_required);
    // There was no adapter before, so all there is now is ours to take back.
    if (error != ERROR_SUCCESS) static_cast<void>(uninstall(reboot_required));
    return error;
}

}  // namespace

extern "C" {

DWORD WnbdInstallDriver(CONST CHAR* FileName, PBOOL RebootRequired) {
    if (FileName == nullptr) return ERROR_INVALID_PARAMETER;
    BOOL reboot = FALSE;
    const DWORD error = guarded([&] {
        const InstallationLock lock;
        return lock.error() != ERROR_SUCCESS ? lock.error() : install(FileName, reboot);
    });
    if (reboot && RebootRequired != nullptr) *RebootRequired = TRUE;
    return error;
}

DWORD WnbdUninstallDriver(PBOOL RebootRequired) {
    BOOL reboot = FALSE;
    const DWORD error = guarded([&] {
        const InstallationLock lock;
        return lock.error() != ERROR_SUCCESS ? lock.error() : uninstall(reboot);
    });
    if (reboot && RebootRequired != nullptr) *RebootRequired = TRUE;
    return error;
}

}  // extern "C"
