// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's options, as commands.
#include <algorithm>

#include "libwnbd/device_control.h"
#include "libwnbd/list_reply.h"

using namespace wnbd::libwnbd;

namespace {

/// UTF-8 to the command's field. The driver looks at the first WNBD_MAX_OPT_NAME_LENGTH units only,
/// so a longer name is refused here instead of meaning another option there.
DWORD put_option_name(WCHAR (&field)[WNBD_MAX_NAME_LENGTH], const char* name) {
    CHAR bytes[WNBD_MAX_NAME_LENGTH];
    const DWORD error = error_of(copy_name(bytes, name));
    if (error != ERROR_SUCCESS) return error;
    const int units =
        MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, bytes, -1, field, WNBD_MAX_NAME_LENGTH);
    if (units == 0) return ERROR_INVALID_PARAMETER;
    return units > WNBD_MAX_OPT_NAME_LENGTH ? ERROR_BUFFER_OVERFLOW : ERROR_SUCCESS;
}

bool is_terminated_text(const WCHAR (&text)[WNBD_MAX_NAME_LENGTH]) {
    return std::find(std::begin(text), std::end(text), L'\0') != std::end(text);
}

}  // namespace

extern "C" {

DWORD WnbdIoctlGetDrvOpt(HANDLE Adapter, const char* Name, PWNBD_OPTION_VALUE Value,
                         BOOLEAN Persistent, LPOVERLAPPED Overlapped) {
    if (Value == nullptr) return ERROR_INVALID_PARAMETER;
    WNBD_IOCTL_GET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_GET_DRV_OPT;
    command.Persistent = Persistent;
    const DWORD error = put_option_name(command.Name, Name);
    if (error != ERROR_SUCCESS) return error;
    return ask(Adapter, command, *Value, Overlapped);
}

DWORD WnbdIoctlSetDrvOpt(HANDLE Adapter, const char* Name, PWNBD_OPTION_VALUE Value,
                         BOOLEAN Persistent, LPOVERLAPPED Overlapped) {
    if (Value == nullptr) return ERROR_INVALID_PARAMETER;
    if (Value->Type == WnbdOptWstr && !is_terminated_text(Value->Data.AsWstr))
        return ERROR_BUFFER_OVERFLOW;
    WNBD_IOCTL_SET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DRV_OPT;
    command.Value = *Value;
    command.Persistent = Persistent;
    const DWORD error = put_option_name(command.Name, Name);
    if (error != ERROR_SUCCESS) return error;
    return send_command(Adapter, command, Overlapped);
}

DWORD WnbdIoctlResetDrvOpt(HANDLE Adapter, const char* Name, BOOLEAN Persistent,
                           LPOVERLAPPED Overlapped) {
    WNBD_IOCTL_RESET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_RESET_DRV_OPT;
    command.Persistent = Persistent;
    const DWORD error = put_option_name(command.Name, Name);
    if (error != ERROR_SUCCESS) return error;
    return send_command(Adapter, command, Overlapped);
}

DWORD WnbdIoctlListDrvOpt(HANDLE Adapter, PWNBD_OPTION_LIST OptionList, PDWORD BufferSize,
                          BOOLEAN Persistent, LPOVERLAPPED Overlapped) {
    WNBD_IOCTL_LIST_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_LIST_DRV_OPT;
    command.Persistent = Persistent;
    return ask_list(Adapter, command, OptionList, BufferSize, Overlapped);
}

}  // extern "C"
