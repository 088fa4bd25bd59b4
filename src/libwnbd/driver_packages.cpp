// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/driver_packages.h"

#include <windows.h>

#include <newdev.h>

#include <cwchar>
#include <vector>

#include "libwnbd/log.h"
#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

namespace {

class InfFile {
  public:
    explicit InfFile(const std::wstring& path)
        : inf_(SetupOpenInfFileW(path.c_str(), nullptr, INF_STYLE_WIN4, nullptr)) {}
    InfFile(const InfFile&) = delete;
    InfFile& operator=(const InfFile&) = delete;
    ~InfFile() {
        if (inf_ != INVALID_HANDLE_VALUE) SetupCloseInfFile(inf_);
    }

    /// Whether [Version] has the key with this value, letter case aside.
    [[nodiscard]] bool version_says(const wchar_t* key, const wchar_t* value) const {
        if (inf_ == INVALID_HANDLE_VALUE) return false;
        INFCONTEXT line{};
        wchar_t text[MAX_PATH]{};
        return SetupFindFirstLineW(inf_, L"Version", key, &line) &&
               SetupGetStringFieldW(&line, 1, text, MAX_PATH, nullptr) &&
               _wcsicmp(text, value) == 0;
    }

  private:
    HINF inf_;
};

bool is_ours(const std::wstring& path) {
    const InfFile inf(path);
    for (const wchar_t* const key : {L"CatalogFile", L"CatalogFile.NT", L"CatalogFile.NTamd64"})
        if (inf.version_says(key, L"wnbd.cat")) return true;
    return false;
}

std::wstring inf_folder() {
    wchar_t windows[MAX_PATH]{};
    GetSystemWindowsDirectoryW(windows, MAX_PATH);
    return std::wstring(windows) + L"\\INF\\";
}

std::vector<std::wstring> package_names(const std::wstring& folder) {
    std::vector<std::wstring> names;
    WIN32_FIND_DATAW found{};
    const HANDLE search = FindFirstFileW((folder + L"oem*.inf").c_str(), &found);
    if (search == INVALID_HANDLE_VALUE) return names;
    do {
        names.emplace_back(found.cFileName);
    } while (FindNextFileW(search, &found));
    FindClose(search);
    return names;
}

}  // namespace

DWORD install_package(const std::wstring& inf_path, BOOL& reboot_required) {
    // Loaded here, so that a program which never installs a driver does not load newdev.dll.
    const HMODULE newdev = LoadLibraryExW(L"newdev.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (newdev == nullptr) return last_error();
    const auto update = reinterpret_cast<decltype(&UpdateDriverForPlugAndPlayDevicesW)>(
        reinterpret_cast<void*>(GetProcAddress(newdev, "UpdateDriverForPlugAndPlayDevicesW")));
    DWORD error = ERROR_SUCCESS;
    BOOL reboot = FALSE;
    if (update == nullptr) {
        error = last_error();
    } else if (!update(nullptr, L"root\\wnbd", inf_path.c_str(), INSTALLFLAG_FORCE, &reboot)) {
        error = last_error();
    }
    if (reboot) reboot_required = TRUE;
    FreeLibrary(newdev);
    return error;
}

DWORD uninstall_packages() {
    const std::wstring folder = inf_folder();
    DWORD last = ERROR_SUCCESS;
    for (const auto& name : package_names(folder)) {
        if (!is_ours(folder + name)) continue;
        LOG_INFO("uninstalling %s", to_utf8(name).c_str());
        if (SetupUninstallOEMInfW(name.c_str(), SUOI_FORCEDELETE, nullptr)) continue;
        last = last_error();
        LOG_ERROR("could not uninstall %s: %s", to_utf8(name).c_str(), error_text(last).c_str());
    }
    return last;
}

}  // namespace wnbd::libwnbd
