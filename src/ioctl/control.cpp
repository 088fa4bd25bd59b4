// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ioctl/control.h"

#include "ioctl/call.h"
#include "version.h"

namespace wnbd::ioctl {

std::uint32_t Control::command_of(const Call& call) noexcept {
    WNBD_IOCTL_BASE_COMMAND command{};
    if (holds<WNBD_IOCTL_BASE_COMMAND>(call)) load(call, command);
    return command.IoControlCode;
}

Completion Control::handle(const Call& call) noexcept {
    if (!holds<WNBD_IOCTL_BASE_COMMAND>(call)) return {nt::invalid_parameter, 0};
    switch (command_of(call)) {
        case IOCTL_WNBD_PING: return {nt::success, 0};
        case IOCTL_WNBD_CREATE: return create(call);
        case IOCTL_WNBD_REMOVE: return remove(call);
        case IOCTL_WNBD_FETCH_REQ: return fetch_request(call);
        case IOCTL_WNBD_SEND_RSP: return send_response(call);
        case IOCTL_WNBD_LIST: return list(call);
        case IOCTL_WNBD_STATS: return stats(call);
        case IOCTL_WNBD_RELOAD_CONFIG: return reload_config();
        case IOCTL_WNBD_VERSION: return version(call);
        case IOCTL_WNBD_SHOW: return show(call);
        case IOCTL_WNBD_GET_DRV_OPT: return get_option(call);
        case IOCTL_WNBD_SET_DRV_OPT: return set_option(call);
        case IOCTL_WNBD_RESET_DRV_OPT: return reset_option(call);
        case IOCTL_WNBD_LIST_DRV_OPT: return list_options(call);
        case IOCTL_WNBD_SET_DISK_SIZE: return set_disk_size(call);
        default: return {nt::invalid_device_request, 0};
    }
}

Completion Control::version(const Call& call) noexcept {
    if (!takes<WNBD_VERSION>(call)) return {nt::buffer_overflow, 0};
    static_assert(sizeof(WNBD_VERSION_STR) <= WNBD_MAX_VERSION_STR_LENGTH);
    WNBD_VERSION version{};
    version.Major = WNBD_VERSION_MAJOR;
    version.Minor = WNBD_VERSION_MINOR;
    version.Patch = WNBD_VERSION_PATCH;
    std::memcpy(version.Description, WNBD_VERSION_STR, sizeof(WNBD_VERSION_STR));
    return reply(call, version);
}

}  // namespace wnbd::ioctl
