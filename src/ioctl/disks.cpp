// SPDX-License-Identifier: LGPL-2.1-or-later
// Making, removing, finding and describing disks.
#include <cstddef>
#include <limits>
#include <utility>

#include "ioctl/call.h"

namespace wnbd::ioctl {
namespace {

/// Windows counts the bytes of a disk in a signed 64-bit number.
bool valid_size(std::uint64_t block_count, std::uint32_t block_size) noexcept {
    constexpr auto max_bytes = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return block_count > 0 && block_count <= max_bytes / block_size;
}

bool valid_block_size(std::uint32_t block_size) noexcept {
    return block_size == 512 || block_size == 4096;
}

bool valid_physical_block(std::uint8_t exponent, std::uint32_t block_size) noexcept {
    constexpr unsigned exponent_limit = 16;  // so that the shift below holds
    return exponent < exponent_limit &&
           std::uint64_t{block_size} << exponent <= WNBD_MAX_PHYSICAL_BLOCK_SIZE;
}

void terminate_names(WNBD_PROPERTIES& properties) noexcept {
    terminate(properties.InstanceName);
    terminate(properties.SerialNumber);
    terminate(properties.Owner);
    terminate(properties.NbdProperties.Hostname);
    terminate(properties.NbdProperties.ExportName);
}

/// Checks what a new disk is asked to be, and fills in what was left out.
bool sanitise(WNBD_PROPERTIES& properties, INT requestor) noexcept {
    terminate_names(properties);
    if (properties.Flags.UseKernelNbd) return false;
    if (properties.InstanceName[0] == '\0') return false;
    if (!valid_block_size(properties.BlockSize)) return false;
    if (!valid_physical_block(WnbdGetPhysicalBlockExponent(&properties), properties.BlockSize))
        return false;
    if (!valid_size(properties.BlockCount, properties.BlockSize)) return false;
    if (properties.SerialNumber[0] == '\0')
        std::memcpy(properties.SerialNumber, properties.InstanceName,
                    sizeof properties.SerialNumber);
    if (properties.Pid == 0) properties.Pid = requestor;
    return true;
}

/// The instance name of a command that begins with one, checked. nullptr: there is none.
template <typename Command>
bool load_name(const Call& call, CHAR (&name)[WNBD_MAX_NAME_LENGTH]) noexcept {
    if (!holds<Command>(call)) return false;
    std::memcpy(name, call.buffer + offsetof(Command, InstanceName), sizeof name);
    terminate(name);
    return name[0] != '\0';
}

WNBD_CONNECTION_INFO* info_in(std::uint8_t* buffer) noexcept {
    std::memset(buffer, 0, sizeof(WNBD_CONNECTION_INFO));
    return reinterpret_cast<WNBD_CONNECTION_INFO*>(buffer);
}

}  // namespace

Completion Control::create(const Call& call) noexcept {
    if (!holds<WNBD_IOCTL_CREATE_COMMAND>(call) || !takes<WNBD_CONNECTION_INFO>(call))
        return {nt::invalid_parameter, 0};
    auto& properties = reinterpret_cast<WNBD_IOCTL_CREATE_COMMAND*>(call.buffer)->Properties;
    if (!sanitise(properties, call.process_id)) return {nt::invalid_parameter, 0};
    // A disk made on behalf of another process gets its owner when that process fetches.
    const bool serves_itself = properties.Pid == call.process_id;
    auto created =
        adapter_.create(properties, serves_itself ? call.handle : nullptr, max_requests_);
    if (!created) return {created.error(), 0};
    describe(std::move(created.value()), *info_in(call.buffer));
    return {nt::success, sizeof(WNBD_CONNECTION_INFO)};
}

Completion Control::remove(const Call& call) noexcept {
    CHAR name[WNBD_MAX_NAME_LENGTH];
    if (!load_name<WNBD_IOCTL_REMOVE_COMMAND>(call, name)) return {nt::invalid_parameter, 0};
    WNBD_REMOVE_COMMAND_OPTIONS options;
    std::memcpy(&options, call.buffer + offsetof(WNBD_IOCTL_REMOVE_COMMAND, Options),
                sizeof options);
    std::uint64_t connection_id = 0;
    {
        const engine::UnitReference unit = adapter_.find_by_name(name);
        if (!unit) return {nt::object_name_not_found, 0};
        connection_id = unit->disk.connection_id();
    }
    // The extension: whoever names a connection never removes a newer disk of the same name.
    const std::uint64_t wanted = WnbdGetRemoveConnectionId(&options);
    if (wanted != 0 && wanted != connection_id) return {nt::object_name_not_found, 0};
    if (!adapter_.remove(connection_id)) return {nt::object_name_not_found, 0};
    return {nt::success, 0};
}

/// Takes the reference, and lets go of it before the system is asked where the disk is: that may
/// wait for a removal, which waits for references.
void Control::describe(engine::UnitReference unit, WNBD_CONNECTION_INFO& info) noexcept {
    std::uint8_t target = 0;
    {
        const engine::UnitReference held(std::move(unit));
        target = adapter_.target_of(*held);
        info.Properties = held->properties;
        info.Properties.BlockCount = held->disk.block_count();
        info.ConnectionId = held->disk.connection_id();
    }
    info.TargetId = target;
    info.DiskNumber = -1;
    locator_.locate(target, info.ConnectionId, info.DiskNumber, info.PNPDeviceID);
}

/// The oldest disk that is younger than `connection_id`: walks all in order of creation.
engine::UnitReference Control::next_disk(std::uint64_t connection_id) noexcept {
    for (;;) {
        std::uint64_t best = 0;
        for (std::uint8_t target = 0; target < engine::max_disks; ++target) {
            const engine::UnitReference unit = adapter_.unit_at(target);
            if (!unit) continue;
            const std::uint64_t id = unit->disk.connection_id();
            if (id > connection_id && (best == 0 || id < best)) best = id;
        }
        if (best == 0) return {};
        engine::UnitReference found = adapter_.find(best);
        if (found) return found;
        connection_id = best;  // gone since: go on after it
    }
}

Completion Control::list(const Call& call) noexcept {
    std::size_t count = 0;
    for (std::uint8_t target = 0; target < engine::max_disks; ++target)
        if (adapter_.unit_at(target)) ++count;
    constexpr std::size_t header = offsetof(WNBD_CONNECTION_LIST, Connections);
    constexpr std::size_t element = sizeof(WNBD_CONNECTION_INFO);
    // Callers without a buffer learn how large it should be; room for one more, since a disk may
    // come between the two calls.
    if (call.output_length == 0)
        return {nt::success, count * element + sizeof(WNBD_CONNECTION_LIST)};
    if (call.output_length < header) return {nt::buffer_overflow, 0};
    const std::size_t room = (call.output_length - header) / element;
    std::memset(call.buffer, 0, header);
    auto& head = *reinterpret_cast<WNBD_CONNECTION_LIST*>(call.buffer);
    head.ElementSize = element;
    head.Count = static_cast<UINT32>(count);
    if (room < count) return {nt::buffer_overflow, header};

    std::size_t filled = 0;
    std::uint64_t last = 0;
    for (; filled < room; ++filled) {
        engine::UnitReference unit = next_disk(last);
        if (!unit) break;
        auto& info = *info_in(call.buffer + header + filled * element);
        describe(std::move(unit), info);
        last = info.ConnectionId;
    }
    // One has come meanwhile: half a list is no list.
    if (next_disk(last)) {
        head.Count = static_cast<UINT32>(filled + 1);
        return {nt::buffer_overflow, header};
    }
    head.Count = static_cast<UINT32>(filled);
    return {nt::success, header + filled * element};
}

Completion Control::show(const Call& call) noexcept {
    CHAR name[WNBD_MAX_NAME_LENGTH];
    if (!load_name<WNBD_IOCTL_SHOW_COMMAND>(call, name)) return {nt::invalid_parameter, 0};
    if (!takes<WNBD_CONNECTION_INFO>(call)) return {nt::buffer_overflow, 0};
    engine::UnitReference unit = adapter_.find_by_name(name);
    if (!unit) return {nt::object_name_not_found, 0};
    describe(std::move(unit), *info_in(call.buffer));
    return {nt::success, sizeof(WNBD_CONNECTION_INFO)};
}

Completion Control::stats(const Call& call) noexcept {
    CHAR name[WNBD_MAX_NAME_LENGTH];
    if (!load_name<WNBD_IOCTL_STATS_COMMAND>(call, name)) return {nt::invalid_parameter, 0};
    if (!takes<WNBD_DRV_STATS>(call)) return {nt::buffer_overflow, 0};
    const engine::UnitReference unit = adapter_.find_by_name(name);
    if (!unit) return {nt::object_name_not_found, 0};
    const engine::Counters counters = unit->disk.counters();
    WNBD_DRV_STATS stats{};
    stats.TotalReceivedIORequests = counters.received;
    stats.TotalSubmittedIORequests = counters.submitted;
    stats.TotalReceivedIOReplies = counters.replies;
    stats.UnsubmittedIORequests = counters.unsubmitted;
    stats.PendingSubmittedIORequests = counters.pending_submitted;
    stats.AbortedSubmittedIORequests = counters.aborted_submitted;
    // The ABI has no field for what could not be handed out; without it the sum would not hold.
    stats.AbortedUnsubmittedIORequests = counters.aborted_unsubmitted + counters.rejected;
    stats.CompletedAbortedIORequests = counters.late_replies;
    stats.OutstandingIOCount = counters.outstanding();
    stats.LastReceivedReqTimestamp = counters.last_received_at;
    stats.LastSubmittedReqTimestamp = counters.last_submitted_at;
    stats.LastReplyTimestamp = counters.last_reply_at;
    return reply(call, stats);
}

Completion Control::set_disk_size(const Call& call) noexcept {
    if (!holds<WNBD_IOCTL_SET_SIZE_COMMAND>(call)) return {nt::invalid_parameter, 0};
    WNBD_IOCTL_SET_SIZE_COMMAND command;
    load(call, command);
    const engine::UnitReference unit = adapter_.find(command.ConnectionId);
    if (!unit) return {nt::object_name_not_found, 0};
    if (!valid_size(command.BlockCount, unit->properties.BlockSize))
        return {nt::invalid_parameter, 0};
    unit->disk.resize(command.BlockCount);
    return {nt::success, 0};
}

}  // namespace wnbd::ioctl
