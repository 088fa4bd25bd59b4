// SPDX-License-Identifier: LGPL-2.1-or-later
// Protocol version 1: one request out a call, one reply in a call. User memory is locked for
// exactly the bytes that move, and only when some do.
#include <algorithm>
#include <utility>

#include "ioctl/call.h"

namespace wnbd::ioctl {
namespace {

WnbdRequestType request_type(scsi::Verb verb) noexcept {
    switch (verb) {
        case scsi::Verb::read: return WnbdReqTypeRead;
        case scsi::Verb::write: return WnbdReqTypeWrite;
        case scsi::Verb::flush: return WnbdReqTypeFlush;
        case scsi::Verb::unmap: return WnbdReqTypeUnmap;
        case scsi::Verb::persistent_reserve_in: return WnbdReqTypePersistResIn;
        case scsi::Verb::persistent_reserve_out: return WnbdReqTypePersistResOut;
        case scsi::Verb::get_lba_status: break;  // no process can be asked, so no disk says it can
    }
    return WnbdReqTypeUnknown;
}

/// The step of a request as user space sees it.
void describe_step(const engine::Request& request, WNBD_IO_REQUEST& out) noexcept {
    const scsi::Step& step = request.step;
    const auto& reservation = request.block.reservation;
    out = WNBD_IO_REQUEST{};
    out.RequestHandle = request.tag();
    out.RequestType = request_type(step.verb);
    switch (step.verb) {
        case scsi::Verb::read:
        case scsi::Verb::write:
            out.Cmd.Read.BlockAddress = step.lba;
            out.Cmd.Read.BlockCount = step.blocks;
            out.Cmd.Read.ForceUnitAccess = step.force_unit_access ? 1 : 0;
            break;
        case scsi::Verb::flush:
            out.Cmd.Flush.BlockAddress = step.lba;
            out.Cmd.Flush.BlockCount = step.blocks;
            break;
        case scsi::Verb::unmap: out.Cmd.Unmap.Count = step.descriptor_count; break;
        case scsi::Verb::persistent_reserve_in:
            out.Cmd.PersistResIn.ServiceAction = reservation.service_action;
            out.Cmd.PersistResIn.AllocationLength = static_cast<UINT16>(reservation.length);
            break;
        case scsi::Verb::persistent_reserve_out:
            out.Cmd.PersistResOut.ServiceAction = reservation.service_action;
            out.Cmd.PersistResOut.Scope = reservation.scope & 0xF;
            out.Cmd.PersistResOut.Type = reservation.type & 0xF;
            out.Cmd.PersistResOut.ParameterListLength = static_cast<UINT16>(reservation.length);
            break;
        case scsi::Verb::get_lba_status: break;
    }
}

bool payload_needs_buffer(const scsi::Step& step) noexcept {
    return step.source == scsi::Source::data || step.source == scsi::Source::repeated_block ||
           step.source == scsi::Source::unmap_descriptors;
}

/// What a reply's status says, as the initiator gets it.
scsi::Answer answer_of(const WNBD_STATUS& status) noexcept {
    scsi::Answer answer;
    answer.status = static_cast<scsi::Status>(status.ScsiStatus);
    answer.sense.key = static_cast<scsi::SenseKey>(status.SenseKey & 0xF);
    answer.sense.asc = status.ASC;
    answer.sense.ascq = status.ASCQ;
    answer.sense.information_valid = status.InformationValid != 0;
    answer.sense.information = status.Information;
    return answer;
}

}  // namespace

/// The disk behind a connection, for the process that serves it.
Result<engine::UnitReference, nt::Status> Control::serving(
    const Call& call, WNBD_CONNECTION_ID connection_id) noexcept {
    engine::UnitReference unit = adapter_.find(connection_id);
    if (!unit) return Failure{nt::invalid_handle};
    if (unit->properties.Pid != call.process_id) return Failure{nt::access_denied};
    engine::Adapter::adopt(*unit, call.handle);
    return unit;
}

Completion Control::fetch_request(const Call& call) noexcept {
    if (!holds<WNBD_IOCTL_FETCH_REQ_COMMAND>(call) || !takes<WNBD_IOCTL_FETCH_REQ_COMMAND>(call))
        return {nt::invalid_parameter, 0};
    WNBD_IOCTL_FETCH_REQ_COMMAND command;
    load(call, command);
    const auto found = serving(call, command.ConnectionId);
    if (!found) return {found.error(), 0};
    engine::Unit& unit = *found.value();

    engine::Waiter waiter;
    for (;;) {
        engine::Request* request = nullptr;
        switch (unit.disk.take(waiter, request)) {
            case engine::Disk::Take::disconnected:
                command.Request = WNBD_IO_REQUEST{};
                command.Request.RequestType = WnbdReqTypeDisconnect;
                return reply(call, command);
            case engine::Disk::Take::empty:
                if (platform::wait(waiter.wake, true) == platform::WaitResult::alerted) {
                    unit.disk.withdraw(waiter);
                    return {nt::cancelled, 0};
                }
                break;
            case engine::Disk::Take::request: {
                const nt::Status status = hand_out(unit, *request, command);
                if (status == nt::success) return reply(call, command);
                if (status != nt::alerted) return {status, 0};
                break;
            }
        }
    }
}

/// Gives a taken request to user space. `alerted` here means: it failed on the initiator's side,
/// wait for another.
nt::Status Control::hand_out(engine::Unit& unit, engine::Request& request,
                             WNBD_IOCTL_FETCH_REQ_COMMAND& command) noexcept {
    engine::Disk& disk = unit.disk;
    const scsi::Step& step = request.step;
    describe_step(request, command.Request);
    if (step.payload_length == 0) {
        disk.publish(request);
        return nt::success;
    }
    if (step.payload_length > command.DataBufferSize) {
        disk.reject(request);
        return nt::buffer_too_small;
    }
    const bool needs_buffer = payload_needs_buffer(step);
    const auto data = needs_buffer ? disk.data(request) : std::span<std::uint8_t>{};
    if (needs_buffer && data.empty()) {
        disk.reject(request);
        return nt::alerted;
    }
    const auto mapping =
        user_memory_.map(command.DataBuffer, step.payload_length, UserMemory::Access::write);
    if (!mapping) {
        disk.return_unfetched(request);
        return mapping.error();
    }
    scsi::fill_payload(disk.description(), step, data, mapping.value().bytes);
    user_memory_.unmap(mapping.value());
    disk.publish(request);
    return nt::success;
}

Completion Control::send_response(const Call& call) noexcept {
    if (!holds<WNBD_IOCTL_SEND_RSP_COMMAND>(call)) return {nt::invalid_parameter, 0};
    WNBD_IOCTL_SEND_RSP_COMMAND command;
    load(call, command);
    const auto found = serving(call, command.ConnectionId);
    if (!found) return {found.error(), 0};
    engine::Disk& disk = found.value()->disk;
    engine::Request* const request = disk.begin_reply(command.Response.RequestHandle);
    if (request == nullptr) return {nt::not_found, 0};

    // Read as a number: what user space sends need not be one of the enumerators.
    std::uint32_t type = 0;
    static_assert(sizeof type == sizeof command.Response.RequestType);
    std::memcpy(&type, &command.Response.RequestType, sizeof type);
    const auto expected = static_cast<std::uint32_t>(request_type(request->step.verb));
    if (type != WnbdReqTypeUnknown && type != expected) {
        disk.return_unanswered(*request);
        return {nt::invalid_parameter, 0};
    }
    const scsi::Answer answer = answer_of(command.Response.Status);
    const std::size_t length =
        std::min<std::size_t>(command.DataBufferSize, request->step.reply_length);
    if (answer.status != scsi::Status::good || length == 0) {
        disk.finish_reply(*request, answer, {});
        return {nt::success, 0};
    }
    if (command.DataBuffer == nullptr) {
        disk.fail_reply(*request);
        return {nt::invalid_parameter, 0};
    }
    const auto mapping = user_memory_.map(command.DataBuffer, length, UserMemory::Access::read);
    if (!mapping) {
        disk.fail_reply(*request);
        return {mapping.error(), 0};
    }
    disk.finish_reply(*request, answer, mapping.value().bytes);
    user_memory_.unmap(mapping.value());
    return {nt::success, 0};
}

}  // namespace wnbd::ioctl
