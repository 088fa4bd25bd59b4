// SPDX-License-Identifier: LGPL-2.1-or-later
// Trim and persistent reservations, as the ioctls of the storage stack have them.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/big_endian.h"
#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

namespace wnbd::disktool {

int trim(const TrimOptions& options) {
    struct {
        DEVICE_MANAGE_DATA_SET_ATTRIBUTES head;
        DEVICE_DATA_SET_RANGE range;
    } request{};
    request.head.Size = sizeof request.head;
    request.head.Action = DeviceDsmAction_Trim;
    request.head.DataSetRangesOffset = offsetof(decltype(request), range);
    request.head.DataSetRangesLength = sizeof request.range;
    request.range.StartingOffset = static_cast<LONGLONG>(options.offset);
    request.range.LengthInBytes = options.length;
    const Drive drive(options.drive, {.write = true});
    drive.control(IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES, &request, sizeof request, nullptr, 0,
                  "MANAGE_DATA_SET_ATTRIBUTES");
    return 0;
}

int verify(const TrimOptions& options) {
    VERIFY_INFORMATION range{};
    range.StartingOffset.QuadPart = static_cast<LONGLONG>(options.offset);
    range.Length = static_cast<DWORD>(options.length);
    const Drive drive(options.drive, {});
    drive.control(IOCTL_DISK_VERIFY, &range, sizeof range, nullptr, 0, "VERIFY");
    return 0;
}

int reserve_in(const ReserveOptions& options) {
    PERSISTENT_RESERVE_COMMAND command{};
    std::vector<std::uint8_t> answer(512);
    command.Size = sizeof command;
    command.PR_IN.ServiceAction = static_cast<UCHAR>(options.action & 0x1F);
    command.PR_IN.AllocationLength = static_cast<USHORT>(answer.size());
    const Drive drive(options.drive, {});
    answer.resize(drive.control(IOCTL_STORAGE_PERSISTENT_RESERVE_IN, &command, sizeof command,
                                answer.data(), static_cast<DWORD>(answer.size()),
                                "PERSISTENT_RESERVE_IN"));
    std::printf("data:");
    for (const auto byte : answer)
        std::printf(" %02x", byte);
    std::printf("\n");
    return 0;
}

int reserve_out(const ReserveOptions& options) {
    constexpr std::size_t list = offsetof(PERSISTENT_RESERVE_COMMAND, PR_OUT.ParameterList);
    constexpr std::size_t list_bytes = 24;
    std::vector<std::uint8_t> request(list + list_bytes);
    PERSISTENT_RESERVE_COMMAND command{};
    command.Size = static_cast<ULONG>(request.size());
    command.PR_OUT.ServiceAction = static_cast<UCHAR>(options.action & 0x1F);
    command.PR_OUT.Type = static_cast<UCHAR>(options.type & 0x0F);
    std::memcpy(request.data(), &command, std::min(sizeof command, request.size()));
    store_big_endian<std::uint64_t>(&request[list], options.key);
    store_big_endian<std::uint64_t>(&request[list + 8], options.action_key);
    const Drive drive(options.drive, {.write = true});
    drive.control(IOCTL_STORAGE_PERSISTENT_RESERVE_OUT, request.data(),
                  static_cast<DWORD>(request.size()), nullptr, 0, "PERSISTENT_RESERVE_OUT");
    return 0;
}

}  // namespace wnbd::disktool
