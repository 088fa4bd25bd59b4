// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/removal.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "libwnbd/adapter.h"
#include "libwnbd/device_control.h"
#include "libwnbd/disk.h"
#include "libwnbd/log.h"
#include "libwnbd/mapping_pause.h"
#include "libwnbd/veto.h"

namespace wnbd::libwnbd {

namespace {

/// How often a disk that has just been mapped is asked for its device node.
constexpr DWORD device_poll_ms = 100;

class Deadline {
  public:
    /// 0: never.
    explicit Deadline(DWORD timeout_ms) noexcept
        : begin_(GetTickCount64()), timeout_ms_(timeout_ms) {}

    [[nodiscard]] bool limited() const noexcept { return timeout_ms_ != 0; }
    [[nodiscard]] bool passed() const noexcept {
        return timeout_ms_ != 0 && GetTickCount64() - begin_ >= timeout_ms_;
    }
    /// Waits, but not beyond the deadline: there is one more try at the very end.
    void wait(DWORD wait_ms) const noexcept {
        const ULONGLONG waited_ms = GetTickCount64() - begin_;
        if (timeout_ms_ != 0 && waited_ms < timeout_ms_)
            wait_ms = static_cast<DWORD>(std::min<ULONGLONG>(wait_ms, timeout_ms_ - waited_ms));
        Sleep(wait_ms);
    }

  private:
    ULONGLONG begin_;
    DWORD timeout_ms_;
};

/// SHOW for one connection: FILE_NOT_FOUND when the name means another one by now.
DWORD show_connection(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id,
                      WNBD_CONNECTION_INFO& info) {
    const DWORD error = WnbdIoctlShow(adapter, name, &info, nullptr);
    if (error != ERROR_SUCCESS) return error;
    // 0: a driver that does not tell. Then the name has to do.
    if (connection_id != 0 && info.ConnectionId != 0 && info.ConnectionId != connection_id)
        return ERROR_FILE_NOT_FOUND;
    return ERROR_SUCCESS;
}

/// The device node of a disk, once it has one. A disk that was mapped a moment ago has none yet,
/// and an empty device id would address the root of the device tree.
DWORD wait_for_device(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id,
                      const Deadline& deadline, DEVINST& device) {
    // Without a limit of the caller's there is still one: the disk may never start.
    const Deadline start_deadline(WNBD_DEFAULT_RM_TIMEOUT_MS);
    for (;;) {
        WNBD_CONNECTION_INFO info{};
        const DWORD error = show_connection(adapter, name, connection_id, info);
        if (error != ERROR_SUCCESS) return error;
        info.PNPDeviceID[WNBD_MAX_NAME_LENGTH - 1] = L'\0';
        if (locate_device(info.PNPDeviceID, device) == ERROR_SUCCESS) return ERROR_SUCCESS;
        if (deadline.passed() || (!deadline.limited() && start_deadline.passed()))
            return ERROR_TIMEOUT;
        deadline.wait(device_poll_ms);
    }
}

/// Asks PnP to remove a device, once. ERROR_BUSY: vetoed, by `objector`.
DWORD ask_to_remove(DEVINST device, std::string& objector) {
    PNP_VETO_TYPE type = PNP_VetoTypeUnknown;
    wchar_t who[MAX_PATH]{};
    const CONFIGRET result =
        CM_Query_And_Remove_SubTreeW(device, &type, who, MAX_PATH, CM_REMOVE_NO_RESTART);
    if (result == CR_SUCCESS) return ERROR_SUCCESS;
    if (result != CR_REMOVE_VETOED) {
        LOG_DEBUG("could not remove the device: CONFIGRET %#lx", result);
        return ERROR_REMOVE_FAILED;
    }
    who[MAX_PATH - 1] = L'\0';
    objector = veto_text(type) + (" \"" + to_utf8(who) + "\"");
    LOG_INFO("the removal was vetoed by %s (type %d)", objector.c_str(), static_cast<int>(type));
    return ERROR_BUSY;
}

/// Asks PnP until nobody objects, the disk is gone for another reason (FILE_NOT_FOUND), or the time
/// is over. Before each try the device is looked up anew: while we waited, its place in the tree
/// may have become another disk's.
DWORD remove_softly(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id,
                    const WNBD_REMOVE_OPTIONS& options) {
    const Deadline deadline(options.SoftRemoveTimeoutMs);
    std::string objector;
    for (;;) {
        DEVINST device = 0;
        DWORD error = wait_for_device(adapter, name, connection_id, deadline, device);
        if (error != ERROR_SUCCESS) {
            if (error == ERROR_TIMEOUT) LOG_ERROR("Windows has not started the disk \"%s\"", name);
            return error;
        }
        error = ask_to_remove(device, objector);
        if (error == ERROR_SUCCESS) return error;
        if (error != ERROR_BUSY) {
            WNBD_CONNECTION_INFO info{};
            return show_connection(adapter, name, connection_id, info) == ERROR_FILE_NOT_FOUND
                       ? ERROR_FILE_NOT_FOUND
                       : error;
        }
        if (deadline.passed()) {
            LOG_ERROR("vetoed by %s", objector.c_str());
            return ERROR_TIMEOUT;
        }
        deadline.wait(options.SoftRemoveRetryIntervalMs);
    }
}

DWORD remove_hard(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id) {
    WNBD_REMOVE_COMMAND_OPTIONS command_options{};
    WnbdSetRemoveConnectionId(&command_options, connection_id);
    return WnbdIoctlRemove(adapter, name, &command_options, nullptr);
}

/// The list in a buffer that fits. Disks may appear while it is being sized.
DWORD list_disks(HANDLE adapter, std::vector<WNBD_CONNECTION_INFO>& disks) {
    DWORD size = 0;
    DWORD error = WnbdIoctlList(adapter, nullptr, &size, nullptr);
    while (error == ERROR_SUCCESS) {
        // As structures, so that they are aligned.
        std::vector<WNBD_CONNECTION_LIST> buffer(size / sizeof(WNBD_CONNECTION_LIST) + 1);
        const DWORD room = static_cast<DWORD>(buffer.size() * sizeof(buffer[0]));
        size = room;
        error = WnbdIoctlList(adapter, buffer.data(), &size, nullptr);
        if (error != ERROR_SUCCESS || size > room) continue;
        const UINT32 fitting = (room - 8) / sizeof(WNBD_CONNECTION_INFO);
        if (buffer[0].ElementSize != sizeof(WNBD_CONNECTION_INFO) || buffer[0].Count > fitting)
            return ERROR_INVALID_DATA;
        disks.assign(buffer[0].Connections, buffer[0].Connections + buffer[0].Count);
        return ERROR_SUCCESS;
    }
    return error;
}

DWORD remove_all_disks(HANDLE adapter) {
    DWORD first_error = pause_new_mappings(adapter);
    if (first_error != ERROR_SUCCESS) {
        LOG_ERROR("could not forbid new mappings: %s", error_text(first_error).c_str());
        return first_error;
    }
    std::vector<WNBD_CONNECTION_INFO> disks;
    first_error = list_disks(adapter, disks);
    for (auto& disk : disks) {
        CHAR* const name = disk.Properties.InstanceName;
        name[WNBD_MAX_NAME_LENGTH - 1] = '\0';
        const DWORD error = remove_hard(adapter, name, disk.ConnectionId);
        // Somebody else may have been quicker.
        if (error == ERROR_SUCCESS || error == ERROR_FILE_NOT_FOUND) continue;
        LOG_ERROR("could not remove \"%s\": %s", name, error_text(error).c_str());
        if (first_error == ERROR_SUCCESS) first_error = error;
    }
    if (first_error != ERROR_SUCCESS) static_cast<void>(resume_new_mappings(adapter));
    return first_error;
}

}  // namespace

WNBD_REMOVE_OPTIONS removal_options_or_default(const WNBD_REMOVE_OPTIONS* options) noexcept {
    if (options != nullptr) return *options;
    WNBD_REMOVE_OPTIONS defaults{};
    defaults.Flags.HardRemoveFallback = 1;
    defaults.SoftRemoveTimeoutMs = WNBD_DEFAULT_RM_TIMEOUT_MS;
    defaults.SoftRemoveRetryIntervalMs = WNBD_DEFAULT_RM_RETRY_INTERVAL_MS;
    return defaults;
}

DWORD remove_disk(HANDLE adapter, const char* name, WNBD_CONNECTION_ID connection_id,
                  const WNBD_REMOVE_OPTIONS& options) {
    const bool soft = !options.Flags.HardRemove;
    if (soft || connection_id != 0) {
        WNBD_CONNECTION_INFO info{};
        const DWORD error = show_connection(adapter, name, connection_id, info);
        if (error != ERROR_SUCCESS) return error;
        // From here on this very disk is meant, however long the soft removal takes.
        if (connection_id == 0) connection_id = info.ConnectionId;
    }
    if (soft) {
        const DWORD error = remove_softly(adapter, name, connection_id, options);
        if (error == ERROR_FILE_NOT_FOUND) return ERROR_SUCCESS;  // gone while we waited
        if (error != ERROR_SUCCESS) {
            if (!options.Flags.HardRemoveFallback) return error;
            LOG_WARNING("soft removal of \"%s\" failed, removing it hard: %s", name,
                        error_text(error).c_str());
        }
    }
    const DWORD error = remove_hard(adapter, name, connection_id);
    // PnP may have taken it away already.
    return soft && error == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : error;
}

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdRemove(PWNBD_DISK Disk, PWNBD_REMOVE_OPTIONS RemoveOptions) {
    if (Disk == nullptr) return ERROR_INVALID_PARAMETER;
    auto& disk = *wnbd::libwnbd::Disk::of(Disk);
    if (!disk.open()) return ERROR_SUCCESS;
    return guarded([&]() -> DWORD {
        const DWORD error =
            remove_disk(disk.Handle, disk.Properties.InstanceName, disk.ConnectionInfo.ConnectionId,
                        removal_options_or_default(RemoveOptions));
        return error == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : error;
    });
}

DWORD WnbdRemoveEx(const char* InstanceName, PWNBD_REMOVE_OPTIONS RemoveOptions) {
    CHAR name[WNBD_MAX_NAME_LENGTH];
    const DWORD name_error = error_of(copy_name(name, InstanceName));
    if (name_error != ERROR_SUCCESS) return name_error;
    return guarded([&]() -> DWORD {
        UniqueHandle adapter;
        const DWORD error = open_own_adapter(adapter);
        if (error != ERROR_SUCCESS) return error;
        return remove_disk(adapter.get(), name, 0, removal_options_or_default(RemoveOptions));
    });
}

DWORD WnbdRemoveAllDisks(HANDLE AdapterHandle) {
    return guarded([&] { return remove_all_disks(AdapterHandle); });
}

}  // extern "C"
