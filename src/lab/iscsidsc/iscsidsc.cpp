// SPDX-License-Identifier: LGPL-2.1-or-later
// A stand-in for Windows's iscsidsc.dll, for Wine, which has none: what `map --driverless` calls,
// over an initiator of the lab's own that logs in to the target in earnest. It is ours, so it shows
// what our side does, not what Windows does. Windows's sessions belong to the kernel; these end
// with the process. Its disks have numbers, but no device behind them.
#include "client/driverless/iscsidsc.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lab/iscsidsc/session.h"

namespace {

using wnbd::lab::Login;
using wnbd::lab::Session;

constexpr ULONG first_disk_number = 100;
/// Windows takes its time, too.
constexpr ULONGLONG start_ms = 1000;

struct Known {
    std::unique_ptr<Session> session;
    std::wstring target;
    ULONGLONG started_at = 0;
};

struct State {
    std::mutex mutex;
    std::map<ULONGLONG, Known> sessions;
    std::map<std::wstring, std::vector<std::wstring>> targets_of_portal;
    ULONGLONG next = 1;
};

State& state() {
    static State& instance = *new State;
    return instance;
}

std::string narrow(const WCHAR* text) {
    std::string bytes;
    for (; *text != 0; ++text)
        bytes += static_cast<char>(*text);
    return bytes;
}

std::wstring widened(const std::string& text) {
    return {text.begin(), text.end()};
}

std::wstring portal_key(const ISCSI_TARGET_PORTALW& portal) {
    return std::wstring(portal.Address) + L":" + std::to_wstring(portal.Socket);
}

/// What a test has said in the registry.
bool is_set(const wchar_t* name) {
    DWORD value = 0;
    DWORD size = sizeof(value);
    return RegGetValueW(HKEY_LOCAL_MACHINE, L"SOFTWARE\\WNBD Lab", name, RRF_RT_REG_DWORD, nullptr,
                        &value, &size) == ERROR_SUCCESS &&
           value != 0;
}

/// As far as it is a login that `map --driverless` may make.
bool make_login(const ISCSI_TARGET_PORTALW* portal, const ISCSI_LOGIN_OPTIONS* options,
                Login& login) {
    constexpr ULONG needed =
        ISCSI_LOGIN_OPTIONS_AUTH_TYPE | ISCSI_LOGIN_OPTIONS_USERNAME | ISCSI_LOGIN_OPTIONS_PASSWORD;
    if (portal == nullptr || options == nullptr || options->Version != 0 ||
        options->InformationSpecified != needed || options->AuthType != ISCSI_CHAP_AUTH_TYPE)
        return false;
    // Windows takes secrets of 12 to 16 bytes where there is no IPsec.
    if (options->PasswordLength < 12 || options->PasswordLength > 16) return false;
    login.address = narrow(portal->Address);
    login.port = portal->Socket;
    login.user.assign(reinterpret_cast<const char*>(options->Username), options->UsernameLength);
    login.secret.assign(reinterpret_cast<const char*>(options->Password), options->PasswordLength);
    if (is_set(L"WrongSecret")) login.secret.front() ^= 1;
    return true;
}

bool is_discovered(State& known, const std::wstring& name) {
    for (const auto& [portal, names] : known.targets_of_portal) {
        if (std::find(names.begin(), names.end(), name) != names.end()) return true;
    }
    return false;
}

HRESULT result(std::uint32_t code) {
    return static_cast<HRESULT>(code);
}

}  // namespace

extern "C" {

HRESULT WINAPI AddIScsiSendTargetPortalW(PWCHAR /*initiator*/, ULONG /*port*/,
                                         PISCI_LOGIN_OPTIONS options,
                                         ISCSI_SECURITY_FLAGS /*flags*/,
                                         PISCSI_TARGET_PORTALW portal) {
    Login login;
    if (!make_login(portal, options, login)) return result(ERROR_INVALID_PARAMETER);
    Session session;
    std::vector<std::string> names;
    std::uint32_t code = session.log_in(login);
    if (code == 0) code = session.send_targets(names);
    if (code != 0) return result(code);
    session.log_out();
    const std::lock_guard lock(state().mutex);
    auto& known = state().targets_of_portal[portal_key(*portal)];
    for (const std::string& name : names)
        known.push_back(widened(name));
    return 0;
}

HRESULT WINAPI RemoveIScsiSendTargetPortalW(PWCHAR /*initiator*/, ULONG /*port*/,
                                            PISCSI_TARGET_PORTALW portal) {
    const std::lock_guard lock(state().mutex);
    const bool was_there = state().targets_of_portal.erase(portal_key(*portal)) != 0;
    return was_there ? 0 : result(ERROR_NOT_FOUND);
}

HRESULT WINAPI LoginIScsiTargetW(PWCHAR target, BOOLEAN informational, PWCHAR /*initiator*/,
                                 ULONG /*port*/, PISCSI_TARGET_PORTALW portal,
                                 ISCSI_SECURITY_FLAGS /*flags*/, PISCSI_TARGET_MAPPINGW mappings,
                                 PISCSI_LOGIN_OPTIONS options, ULONG key_size, PCHAR /*key*/,
                                 BOOLEAN persistent, PISCSI_UNIQUE_SESSION_ID session_id,
                                 PISCSI_UNIQUE_CONNECTION_ID connection_id) {
    Login login;
    if (target == nullptr || informational || mappings != nullptr || key_size != 0 || persistent ||
        !make_login(portal, options, login))
        return result(ERROR_INVALID_PARAMETER);
    State& known = state();
    {
        const std::lock_guard lock(known.mutex);
        if (!is_discovered(known, target)) return result(wnbd::lab::target_not_found);
    }
    login.target = narrow(target);
    auto session = std::make_unique<Session>();
    std::uint32_t code = session->log_in(login);
    if (code == 0) code = session->start_disk();
    if (code != 0) return result(code);
    session->keep();
    const std::lock_guard lock(known.mutex);
    const ULONGLONG id = known.next++;
    known.sessions.emplace(id, Known{std::move(session), target, GetTickCount64()});
    *session_id = {.AdapterUnique = 0x1AB, .AdapterSpecific = id};
    *connection_id = {.AdapterUnique = 0x1AB, .AdapterSpecific = id};
    return 0;
}

HRESULT WINAPI LogoutIScsiTarget(PISCSI_UNIQUE_SESSION_ID session_id) {
    const std::lock_guard lock(state().mutex);
    const auto found = state().sessions.find(session_id->AdapterSpecific);
    if (found == state().sessions.end()) return result(wnbd::lab::invalid_session);
    if (is_set(L"DisksInUse")) return result(wnbd::lab::device_busy);
    found->second.session->log_out();
    state().sessions.erase(found);
    return 0;
}

HRESULT WINAPI GetDevicesForIScsiSessionW(PISCSI_UNIQUE_SESSION_ID session_id, ULONG* count,
                                          PISCSI_DEVICE_ON_SESSION devices) {
    const std::lock_guard lock(state().mutex);
    const auto found = state().sessions.find(session_id->AdapterSpecific);
    if (found == state().sessions.end()) return result(wnbd::lab::invalid_session);
    // As if somebody had used the initiator's control panel.
    if (is_set(L"LoggedOut")) {
        found->second.session->log_out();
        state().sessions.erase(found);
        return result(wnbd::lab::invalid_session);
    }
    const bool started = GetTickCount64() - found->second.started_at >= start_ms;
    if (!started) {
        *count = 0;
        return 0;
    }
    if (*count == 0) return result(ERROR_INSUFFICIENT_BUFFER);
    *count = 1;
    *devices = {};
    found->second.target.copy(devices->TargetName, MAX_ISCSI_NAME_LEN);
    devices->ScsiAddress.TargetId = static_cast<UCHAR>(found->first);
    devices->StorageDeviceNumber.DeviceType = FILE_DEVICE_DISK;
    devices->StorageDeviceNumber.DeviceNumber =
        first_disk_number + static_cast<ULONG>(found->first);
    return 0;
}

HRESULT WINAPI GetIScsiSessionListW(ULONG* /*size*/, ULONG* count,
                                    PISCSI_SESSION_INFOW /*sessions*/) {
    // Those of this process are none that anybody has left behind.
    *count = 0;
    return 0;
}

}  // extern "C"

BOOL WINAPI DllMain(HINSTANCE /*instance*/, DWORD reason, void* /*reserved*/) {
    if (reason == DLL_PROCESS_ATTACH) {
        WSADATA data{};
        WSAStartup(MAKEWORD(2, 2), &data);
    }
    return TRUE;
}
