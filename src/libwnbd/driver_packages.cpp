// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/driver_packages.h"

#include <windows.h>

#include <newdev.h>

#include <array>
#include <cstring>
#include <cwchar>
#include <vector>

#include "libwnbd/log.h"
#include "libwnbd/windows_handles.h"

namespace wnbd::libwnbd {

namespace {

class InfFile {
  public:
    explicit InfFile(const std::wstring& path)
        : inf_(SetupOpenInfFileW(path.c_str(), nullptr, INF_STYLE_WIN4, nullptr)),
          error_(inf_ == INVALID_HANDLE_VALUE ? last_error() : ERROR_SUCCESS) {}
    InfFile(const InfFile&) = delete;
    InfFile& operator=(const InfFile&) = delete;
    ~InfFile() {
        if (inf_ != INVALID_HANDLE_VALUE) SetupCloseInfFile(inf_);
    }

    [[nodiscard]] DWORD error() const noexcept { return error_; }

    /// The keys of a section, which in [SourceDisksFiles] are file names.
    [[nodiscard]] std::vector<std::wstring> keys(const wchar_t* section) const {
        std::vector<std::wstring> names;
        INFCONTEXT line{};
        if (!SetupFindFirstLineW(inf_, section, nullptr, &line)) return names;
        do {
            wchar_t text[MAX_PATH]{};
            if (SetupGetStringFieldW(&line, 0, text, MAX_PATH, nullptr)) names.emplace_back(text);
        } while (SetupFindNextLine(&line, &line));
        return names;
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
    DWORD error_;
};

bool is_ours(const InfFile& inf) {
    for (const wchar_t* const key : {L"CatalogFile", L"CatalogFile.NT", L"CatalogFile.NTamd64"})
        if (inf.version_says(key, L"wnbd.cat")) return true;
    return false;
}

std::wstring windows_folder() {
    wchar_t windows[MAX_PATH]{};
    GetSystemWindowsDirectoryW(windows, MAX_PATH);
    return windows;
}

std::wstring inf_folder() {
    return windows_folder() + L"\\INF\\";
}

std::wstring folder_of(const std::wstring& path) {
    return path.substr(0, path.find_last_of(L'\\') + 1);
}

/// Windows calls a package it keeps oem<n>.inf; Wine leaves it its name.
std::vector<std::wstring> package_names(const std::wstring& folder) {
    std::vector<std::wstring> names;
    for (const wchar_t* const pattern : {L"oem*.inf", L"wnbd.inf"}) {
        WIN32_FIND_DATAW found{};
        const HANDLE search = FindFirstFileW((folder + pattern).c_str(), &found);
        if (search == INVALID_HANDLE_VALUE) continue;
        do {
            names.emplace_back(found.cFileName);
        } while (FindNextFileW(search, &found));
        FindClose(search);
    }
    return names;
}

/// The name under %windir%\INF of the INF that a device was installed by, or nothing.
std::wstring inf_of_device(const std::wstring& instance_id) {
    const DeviceSet set(SetupDiCreateDeviceInfoList(nullptr, nullptr));
    if (!set.valid()) return {};
    SP_DEVINFO_DATA device{};
    device.cbSize = sizeof(device);
    if (!SetupDiOpenDeviceInfoW(set.get(), instance_id.c_str(), nullptr, 0, &device)) return {};
    HKEY const key =
        SetupDiOpenDevRegKey(set.get(), &device, DICS_FLAG_GLOBAL, 0, DIREG_DRV, KEY_QUERY_VALUE);
    if (key == INVALID_HANDLE_VALUE) return {};
    wchar_t name[MAX_PATH]{};
    DWORD bytes = sizeof(name) - sizeof(wchar_t);
    DWORD type = 0;
    const LSTATUS error =
        RegQueryValueExW(key, L"InfPath", nullptr, &type, reinterpret_cast<BYTE*>(name), &bytes);
    RegCloseKey(key);
    return error == ERROR_SUCCESS && type == REG_SZ ? name : std::wstring();
}

bool same_content(const std::wstring& first, const std::wstring& second) {
    std::array<UniqueHandle, 2> files;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const std::wstring& path = i == 0 ? first : second;
        files[i] = UniqueHandle(CreateFileW(path.c_str(), GENERIC_READ,
                                            FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                            OPEN_EXISTING, 0, nullptr));
        if (!files[i].valid()) return false;
    }
    std::array<std::vector<char>, 2> blocks;
    for (;;) {
        std::array<DWORD, 2> lengths{};
        for (std::size_t i = 0; i < files.size(); ++i) {
            blocks[i].resize(std::size_t{64} << 10);
            if (!ReadFile(files[i].get(), blocks[i].data(), static_cast<DWORD>(blocks[i].size()),
                          &lengths[i], nullptr))
                return false;
        }
        if (lengths[0] != lengths[1]) return false;
        if (lengths[0] == 0) return true;
        if (std::memcmp(blocks[0].data(), blocks[1].data(), lengths[0]) != 0) return false;
    }
}

}  // namespace

DWORD check_package(const std::wstring& inf_path) {
    const InfFile inf(inf_path);
    if (inf.error() != ERROR_SUCCESS) {
        LOG_ERROR("no INF file: %s", to_utf8(inf_path).c_str());
        return inf.error();
    }
    if (!is_ours(inf)) {
        LOG_ERROR("not WNBD's INF file: %s", to_utf8(inf_path).c_str());
        return ERROR_INVALID_DATA;
    }
    std::vector<std::wstring> files = inf.keys(L"SourceDisksFiles");
    files.emplace_back(L"wnbd.cat");
    const std::wstring folder = folder_of(inf_path);
    for (const auto& name : files) {
        const std::wstring path = folder + name;
        if (GetFileAttributesW(path.c_str()) != INVALID_FILE_ATTRIBUTES) continue;
        LOG_ERROR("no file %s", to_utf8(path).c_str());
        return ERROR_FILE_NOT_FOUND;
    }
    return ERROR_SUCCESS;
}

bool device_has_package(const std::wstring& instance_id, const std::wstring& inf_path) {
    const std::wstring name = inf_of_device(instance_id);
    if (name.empty() || !same_content(inf_folder() + name, inf_path)) return false;
    const std::wstring drivers = windows_folder() + L"\\System32\\drivers\\";
    for (const auto& file : InfFile(inf_path).keys(L"SourceDisksFiles"))
        if (!same_content(drivers + file, folder_of(inf_path) + file)) return false;
    return true;
}

DWORD install_package(const std::wstring& inf_path, BOOL& reboot_required) {
    // Loaded here, so that a program which never installs a driver does not load newdev.dll.
    const HMODULE newdev = LoadLibraryExW(L"newdev.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (newdev == nullptr) return last_error();
    const auto update = reinterpret_cast<decltype(&UpdateDriverForPlugAndPlayDevicesW)>(
        // NOLINTNEXTLINE(bugprone-casting-through-void): what GetProcAddress is made for
        reinterpret_cast<void*>(GetProcAddress(newdev, "UpdateDriverForPlugAndPlayDevicesW")));
    DWORD error = ERROR_SUCCESS;
    BOOL reboot = FALSE;
    if (update == nullptr ||
        !update(nullptr, L"root\\wnbd", inf_path.c_str(), INSTALLFLAG_FORCE, &reboot))
        error = last_error();
    if (reboot) reboot_required = TRUE;
    FreeLibrary(newdev);
    return error;
}

DWORD uninstall_packages() {
    const std::wstring folder = inf_folder();
    DWORD last = ERROR_SUCCESS;
    for (const auto& name : package_names(folder)) {
        if (!is_ours(InfFile(folder + name))) continue;
        LOG_INFO("uninstalling %s", to_utf8(name).c_str());
        if (SetupUninstallOEMInfW(name.c_str(), SUOI_FORCEDELETE, nullptr)) continue;
        last = last_error();
        LOG_ERROR("could not uninstall %s: %s", to_utf8(name).c_str(), error_text(last).c_str());
    }
    return last;
}

}  // namespace wnbd::libwnbd
