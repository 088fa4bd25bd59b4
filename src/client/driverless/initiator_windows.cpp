// SPDX-License-Identifier: LGPL-2.1-or-later
// The calls into iscsidsc.dll, and nothing else: this is what no test has run against Windows's own
// initiator. The library is loaded when it is needed, since not every Windows has it, and from the
// system's folder alone. The types of the calls are those of the API's own declarations.
#include <windows.h>

#include <cfgmgr32.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "client/driverless/initiator.h"
#include "client/driverless/iscsidsc.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

// The layouts that the calls depend on, of Windows on x64.
static_assert(sizeof(ISCSI_UNIQUE_SESSION_ID) == 16);
static_assert(sizeof(ISCSI_TARGET_PORTALW) == 1026 &&
              offsetof(ISCSI_TARGET_PORTALW, Socket) == 1024);
static_assert(sizeof(ISCSI_LOGIN_OPTIONS) == 64 && offsetof(ISCSI_LOGIN_OPTIONS, Username) == 48);
static_assert(offsetof(ISCSI_DEVICE_ON_SESSION, ScsiAddress) == (256 + 224) * sizeof(WCHAR));
static_assert(offsetof(ISCSI_DEVICE_ON_SESSION, DeviceInterfaceName) == 984);
static_assert(offsetof(ISCSI_DEVICE_ON_SESSION, StorageDeviceNumber) == 2024);
static_assert(offsetof(ISCSI_DEVICE_ON_SESSION, DeviceInstance) == 2036);

// ISCSI_SESSION_INFOW of the Windows SDK: mingw-w64 declares its names as single characters.
struct SessionInfo {
    ISCSI_UNIQUE_SESSION_ID id;
    PWSTR initiator_name;
    PWSTR target_node_name;
    PWSTR target_name;
    UCHAR isid[6];
    UCHAR tsid[2];
    ULONG connection_count;
    PISCSI_CONNECTION_INFOW connections;
};
static_assert(sizeof(SessionInfo) == 64 && offsetof(SessionInfo, connection_count) == 48);

// iscsierr.h of the Windows SDK, which mingw-w64 lacks.
constexpr DWORD invalid_session_id = 0xEFFF001C;
constexpr DWORD device_busy_on_session = 0xEFFF0040;
constexpr DWORD session_busy = 0xEFFF001F;

constexpr ULONG any_port = 0xFFFFFFFF;  // ISCSI_ANY_INITIATOR_PORT, ISCSI_ALL_INITIATOR_PORTS
constexpr unsigned growth_max = 16;

// IOCTL_DISK_SET_DISK_ATTRIBUTES of the Windows SDK's winioctl.h, which mingw-w64 lacks, too.
struct SetDiskAttributes {
    DWORD version;  // the structure's size
    BOOLEAN persist;
    BYTE reserved1[3];
    DWORDLONG attributes;
    DWORDLONG attributes_mask;
    DWORD reserved2[4];
};
static_assert(sizeof(SetDiskAttributes) == 40);
constexpr DWORD set_disk_attributes =
    CTL_CODE(IOCTL_DISK_BASE, 0x3D, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS);
constexpr DWORDLONG disk_attribute_offline = 1;

struct Calls {
    decltype(&::AddIScsiSendTargetPortalW) add_portal = nullptr;
    decltype(&::RemoveIScsiSendTargetPortalW) remove_portal = nullptr;
    decltype(&::LoginIScsiTargetW) log_in = nullptr;
    decltype(&::LogoutIScsiTarget) log_out = nullptr;
    // The declaration has the name in other letters, and the form by UNICODE.
    decltype(&::GetDevicesForiSCSISession) devices = nullptr;
    decltype(&::GetIScsiSessionListW) sessions = nullptr;
};

std::wstring wide(std::string_view text) {
    const auto units = utf16_from_utf8(text);
    return {units.begin(), units.end()};
}

template <std::size_t Size>
void copy_text(WCHAR (&array)[Size], std::string_view text) {
    const std::wstring from = wide(text);
    std::copy_n(from.begin(), std::min(from.size(), Size - 1), array);
}

std::string text_of(const WCHAR* text) {
    if (text == nullptr) return {};
    return utf8_from_utf16(std::span<const WCHAR>(text, std::wcslen(text)));
}

ISCSI_UNIQUE_SESSION_ID session_id(const InitiatorSession& session) {
    return {.AdapterUnique = session.adapter, .AdapterSpecific = session.specific};
}

class IScsiDsc final : public Initiator {
  public:
    explicit IScsiDsc(HMODULE library) : library_(library) {}
    ~IScsiDsc() override { FreeLibrary(library_); }
    IScsiDsc(const IScsiDsc&) = delete;
    IScsiDsc& operator=(const IScsiDsc&) = delete;

    [[nodiscard]] bool resolve() noexcept {
        return find(calls_.add_portal, "AddIScsiSendTargetPortalW") &&
               find(calls_.remove_portal, "RemoveIScsiSendTargetPortalW") &&
               find(calls_.log_in, "LoginIScsiTargetW") &&
               find(calls_.log_out, "LogoutIScsiTarget") &&
               find(calls_.devices, "GetDevicesForIScsiSessionW") &&
               find(calls_.sessions, "GetIScsiSessionListW");
    }

    Result<InitiatorSession, InitiatorFault> log_in(const LoginTarget& target) override;
    std::optional<InitiatorFault> log_out(const InitiatorSession& session) override;
    bool has_session(const InitiatorSession& session) override;
    std::optional<InitiatorDisk> disk_of(const InitiatorSession& session) override;
    void take_offline(const InitiatorDisk& disk) noexcept override;
    void forget_targets(const std::function<bool(const std::string& name)>& unwanted) override;

  private:
    template <typename Function>
    bool find(Function& function, const char* name) noexcept {
        const FARPROC address = GetProcAddress(library_, name);
        static_assert(sizeof(function) == sizeof(address));
        std::memcpy(&function, &address, sizeof(address));
        return address != nullptr;
    }

    InitiatorFault fault(std::string what, DWORD code) const;
    DWORD read_devices(const InitiatorSession& session,
                       std::vector<ISCSI_DEVICE_ON_SESSION>& devices) const;

    HMODULE library_;
    Calls calls_;
};

/// The initiator's texts are in its library.
InitiatorFault IScsiDsc::fault(std::string what, DWORD code) const {
    std::array<WCHAR, 512> text{};
    const DWORD units = FormatMessageW(
        FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS,
        library_, code, 0, text.data(), static_cast<DWORD>(text.size()), nullptr);
    if (units != 0) what += ": " + text_of(text.data());
    while (what.ends_with('\n') || what.ends_with('\r') || what.ends_with(' ') ||
           what.ends_with('.'))
        what.pop_back();
    return {code, std::move(what), code == device_busy_on_session || code == session_busy};
}

/// The portal is on the initiator's list for the time of the login only, which finds its target
/// there: the list survives restarts, but no portal of ours does.
Result<InitiatorSession, InitiatorFault> IScsiDsc::log_in(const LoginTarget& target) {
    ISCSI_TARGET_PORTALW portal{};
    copy_text(portal.SymbolicName, target.name);
    copy_text(portal.Address, target.address);
    portal.Socket = target.port;

    std::string user = target.user;
    std::string secret = target.secret;
    ISCSI_LOGIN_OPTIONS options{};
    options.Version = ISCSI_LOGIN_OPTIONS_VERSION;
    options.InformationSpecified =
        ISCSI_LOGIN_OPTIONS_AUTH_TYPE | ISCSI_LOGIN_OPTIONS_USERNAME | ISCSI_LOGIN_OPTIONS_PASSWORD;
    options.AuthType = ISCSI_CHAP_AUTH_TYPE;
    options.UsernameLength = static_cast<ULONG>(user.size());
    options.Username = reinterpret_cast<PUCHAR>(user.data());
    options.PasswordLength = static_cast<ULONG>(secret.size());
    options.Password = reinterpret_cast<PUCHAR>(secret.data());

    auto code = static_cast<DWORD>(calls_.add_portal(nullptr, any_port, &options, 0, &portal));
    if (code != ERROR_SUCCESS)
        return Failure{fault("the iSCSI initiator does not take the portal", code)};
    std::wstring name = wide(target.name);
    ISCSI_UNIQUE_SESSION_ID session{};
    ISCSI_UNIQUE_CONNECTION_ID connection{};
    code =
        static_cast<DWORD>(calls_.log_in(name.data(), FALSE, nullptr, any_port, &portal, 0, nullptr,
                                         &options, 0, nullptr, FALSE, &session, &connection));
    calls_.remove_portal(nullptr, any_port, &portal);
    if (code != ERROR_SUCCESS) return Failure{fault("the iSCSI initiator could not log in", code)};
    return InitiatorSession{.adapter = session.AdapterUnique, .specific = session.AdapterSpecific};
}

std::optional<InitiatorFault> IScsiDsc::log_out(const InitiatorSession& session) {
    ISCSI_UNIQUE_SESSION_ID id = session_id(session);
    const auto code = static_cast<DWORD>(calls_.log_out(&id));
    if (code == ERROR_SUCCESS || code == invalid_session_id) return std::nullopt;
    return fault("the iSCSI initiator does not log out", code);
}

DWORD IScsiDsc::read_devices(const InitiatorSession& session,
                             std::vector<ISCSI_DEVICE_ON_SESSION>& devices) const {
    ISCSI_UNIQUE_SESSION_ID id = session_id(session);
    devices.resize(2);
    DWORD code = ERROR_SUCCESS;
    for (unsigned attempt = 0; attempt < growth_max; ++attempt) {
        auto count = static_cast<ULONG>(devices.size());
        code = static_cast<DWORD>(calls_.devices(&id, &count, devices.data()));
        if (code != ERROR_INSUFFICIENT_BUFFER) {
            devices.resize(code == ERROR_SUCCESS ? std::min<std::size_t>(count, devices.size())
                                                 : 0);
            break;
        }
        devices.resize(devices.size() * 2);  // the call does not tell how many there are
    }
    return code;
}

bool IScsiDsc::has_session(const InitiatorSession& session) {
    std::vector<ISCSI_DEVICE_ON_SESSION> devices;
    return read_devices(session, devices) != invalid_session_id;
}

std::optional<InitiatorDisk> IScsiDsc::disk_of(const InitiatorSession& session) {
    std::vector<ISCSI_DEVICE_ON_SESSION> devices;
    if (read_devices(session, devices) != ERROR_SUCCESS) return std::nullopt;
    const auto found = std::ranges::find_if(devices, [](const ISCSI_DEVICE_ON_SESSION& device) {
        return device.StorageDeviceNumber.DeviceType == FILE_DEVICE_DISK &&
               device.ScsiAddress.Lun == 0;
    });
    if (found == devices.end()) return std::nullopt;
    InitiatorDisk disk{.number = static_cast<INT>(found->StorageDeviceNumber.DeviceNumber),
                       .bus = found->ScsiAddress.PathId,
                       .target = found->ScsiAddress.TargetId,
                       .lun = found->ScsiAddress.Lun};
    std::array<WCHAR, MAX_DEVICE_ID_LEN> id{};
    if (CM_Get_Device_IDW(found->DeviceInstance, id.data(), static_cast<ULONG>(id.size()), 0) ==
        CR_SUCCESS)
        disk.instance_id = id.data();
    return disk;
}

void IScsiDsc::take_offline(const InitiatorDisk& disk) noexcept {
    const std::wstring path = L"\\\\.\\PhysicalDrive" + std::to_wstring(disk.number);
    const HANDLE drive =
        CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                    nullptr, OPEN_EXISTING, 0, nullptr);
    if (drive == INVALID_HANDLE_VALUE) return;
    SetDiskAttributes attributes{};
    attributes.version = sizeof(attributes);
    attributes.attributes = disk_attribute_offline;
    attributes.attributes_mask = disk_attribute_offline;
    DWORD returned = 0;
    DeviceIoControl(drive, set_disk_attributes, &attributes, sizeof(attributes), nullptr, 0,
                    &returned, nullptr);
    CloseHandle(drive);
}

void IScsiDsc::forget_targets(const std::function<bool(const std::string& name)>& unwanted) {
    // In units that have the alignment of what is put there.
    std::vector<SessionInfo> buffer;
    ULONG count = 0;
    DWORD code = ERROR_INSUFFICIENT_BUFFER;
    ULONG size = 0;
    for (unsigned attempt = 0; attempt < growth_max && code == ERROR_INSUFFICIENT_BUFFER;
         ++attempt) {
        buffer.resize(size / sizeof(SessionInfo) + 1);
        size = static_cast<ULONG>(buffer.size() * sizeof(SessionInfo));
        code = static_cast<DWORD>(
            calls_.sessions(&size, &count, reinterpret_cast<PISCSI_SESSION_INFOW>(buffer.data())));
    }
    if (code != ERROR_SUCCESS) return;
    for (SessionInfo& session :
         std::span(buffer).first(std::min<std::size_t>(count, buffer.size()))) {
        if (unwanted(text_of(session.target_node_name))) calls_.log_out(&session.id);
    }
}

}  // namespace

Result<std::unique_ptr<Initiator>, InitiatorFault> Initiator::open() {
    const HMODULE library = LoadLibraryExW(L"iscsidsc.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
    if (library == nullptr) {
        return Failure{InitiatorFault{
            GetLastError(), "this Windows has no iSCSI initiator (iscsidsc.dll is missing)"}};
    }
    auto initiator = std::make_unique<IScsiDsc>(library);
    if (!initiator->resolve()) {
        return Failure{InitiatorFault{
            ERROR_PROC_NOT_FOUND, "this Windows's iscsidsc.dll lacks functions that are needed"}};
    }
    if (auto fault = start_initiator_service()) return Failure{std::move(*fault)};
    return std::unique_ptr<Initiator>(std::move(initiator));
}

}  // namespace wnbd::client
