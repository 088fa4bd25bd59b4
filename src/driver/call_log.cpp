// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/call_log.h"

#include <cstddef>

#include "driver/log.h"
#include "wnbd_ioctl.h"

namespace wnbd::driver {

namespace {

/// A name that came from user space and need not be terminated: the length for "%.*s".
constexpr int name_length = WNBD_MAX_NAME_LENGTH - 1;

void log_create(const ioctl::Call& call, const ioctl::Completion& completion) noexcept {
    const auto status = static_cast<unsigned long>(completion.status);
    if (!nt::failed(completion.status)) {
        const auto& info = *reinterpret_cast<const WNBD_CONNECTION_INFO*>(call.buffer);
        WNBD_LOG(info, "disk %.*s: connection %llu, target %u, %llu blocks of %u bytes, process %d",
                 name_length, info.Properties.InstanceName,
                 static_cast<unsigned long long>(info.ConnectionId), info.TargetId,
                 static_cast<unsigned long long>(info.Properties.BlockCount),
                 info.Properties.BlockSize, info.Properties.Pid);
        return;
    }
    const bool is_whole =
        call.buffer != nullptr && call.input_length >= sizeof(WNBD_IOCTL_CREATE_COMMAND);
    const char* const name = is_whole
                                 ? reinterpret_cast<const WNBD_IOCTL_CREATE_COMMAND*>(call.buffer)
                                       ->Properties.InstanceName
                                 : "";
    WNBD_LOG(warning, "a new disk was refused, 0x%lx, to process %d: %.*s", status, call.process_id,
             name_length, name);
}

void log_remove(const ioctl::Call& call, const ioctl::Completion& completion) noexcept {
    if (call.buffer == nullptr || call.input_length < sizeof(WNBD_IOCTL_REMOVE_COMMAND)) return;
    WNBD_LOG(info, "removal asked for by process %d gave 0x%lx: %.*s", call.process_id,
             static_cast<unsigned long>(completion.status), name_length,
             reinterpret_cast<const WNBD_IOCTL_REMOVE_COMMAND*>(call.buffer)->InstanceName);
}

}  // namespace

void log_call(std::uint32_t command, const ioctl::Call& call,
              const ioctl::Completion& completion) noexcept {
    switch (command) {
        case IOCTL_WNBD_CREATE: return log_create(call, completion);
        case IOCTL_WNBD_REMOVE: return log_remove(call, completion);
        default:
            WNBD_LOG(debug, "command %u of process %d gave 0x%lx", command, call.process_id,
                     static_cast<unsigned long>(completion.status));
    }
}

}  // namespace wnbd::driver
