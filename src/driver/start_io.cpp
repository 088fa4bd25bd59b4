// SPDX-License-Identifier: LGPL-2.1-or-later
// Storport's SRBs. Everything here runs at any IRQL up to DISPATCH_LEVEL, on many processors at
// once, and holds no lock of its own.
#include <new>

#include "driver/adapter_device.h"
#include "driver/entry_points.h"
#include "driver/log.h"
#include "driver/srb_functions.h"

namespace wnbd::driver {

namespace {

engine::StaleRule stale_rule() noexcept {
    const engine::Options& options = driver().options;
    engine::StaleRule rule;
    rule.request_timeout_ms =
        static_cast<std::uint64_t>(options.value(engine::OptionId::stale_req_timeout_ms));
    rule.connection_timeout_ms =
        static_cast<std::uint64_t>(options.value(engine::OptionId::stale_conn_timeout_ms));
    return rule;
}

/// A drain has found that nobody serves the disk any more.
void handle_stale(AdapterDevice& device, std::uint64_t connection_id) noexcept {
    const bool remove = driver().options.enabled(engine::OptionId::remove_stale_connections);
    WNBD_LOG(warning, "connection %llu is stale%s", static_cast<unsigned long long>(connection_id),
             remove ? ": removing its disk" : "");
    if (remove) device.schedule_removal(connection_id);
}

engine::UnitReference find_unit(AdapterDevice& device, const SrbView& view) noexcept {
    const SrbAddress address = view.address();
    return device.adapter().find(address.path, address.target, address.lun);
}

void finish_started(AdapterDevice& device, SrbView view, engine::Disk::Start start,
                    const scsi::Answer& answer) noexcept {
    switch (start) {
        case engine::Disk::Start::pending: return;  // the SRB is the disk's, if it still exists
        case engine::Disk::Start::answered: return device.port().finish(view, answer);
        case engine::Disk::Start::no_device:
            return device.port().finish(view, SRB_STATUS_NO_DEVICE);
        case engine::Disk::Start::full: return device.port().finish(view, SRB_STATUS_BUSY);
    }
}

constexpr std::uint8_t inquiry = 0x12;
constexpr std::uint8_t report_luns = 0xA0;

/// Nobody is there. What Storport learns of that in a scan decides which device objects it keeps.
void answer_absence(AdapterDevice& device, SrbView view, std::uint8_t operation_code) noexcept {
    const SrbAddress address = view.address();
    const bool is_scan = operation_code == inquiry || operation_code == report_luns;
    if (is_scan && address.path == 0 && address.lun == 0) {
        device.units().identities().absent(address.target);
        device.adapter().saw_vacancy(address.target);
    }
    device.port().finish(view, SRB_STATUS_NO_DEVICE);
}

void execute_scsi(AdapterDevice& device, SrbView view) noexcept {
    scsi::Command command;
    command.cdb = view.cdb();
    if (command.cdb.empty()) return device.port().finish(view, SRB_STATUS_INVALID_REQUEST);
    const engine::UnitReference unit = find_unit(device, view);
    if (!unit) return answer_absence(device, view, command.cdb[0]);
    if (command.cdb[0] == inquiry)
        device.units().identities().present(view.address().target, *unit);
    if (is_read_or_write(command.cdb)) {
        command.data_length = view.data_length();
    } else {
        command.data = view.data_buffer();
        command.data_length = command.data.size();
    }
    command.buffer_use = view.buffer_use();
    scsi::Answer answer;
    const std::uint8_t operation_code = command.cdb[0];
    const engine::Disk::Start start = unit->disk.start(view.srb(), command, answer);
    if (start == engine::Disk::Start::no_device)
        answer_absence(device, view, operation_code);
    else
        finish_started(device, view, start, answer);
}

// Storport sends both to every unit, because the adapter says that it caches data.
void flush(AdapterDevice& device, SrbView view) noexcept {
    const engine::UnitReference unit = find_unit(device, view);
    if (!unit) return device.port().finish(view, SRB_STATUS_NO_DEVICE);
    scsi::Answer answer;
    finish_started(device, view, unit->disk.flush(view.srb(), answer), answer);
}

/// Ends what an abort or reset is about, then the SRB itself: at once, or in Port::reset_done()
/// when a copy is under way. `victim` is the one SRB to end, nullptr for all.
void drain(AdapterDevice& device, SrbView view, const engine::UnitReference& unit,
           const void* victim) noexcept {
    if (!unit) return device.port().finish(view, SRB_STATUS_NO_DEVICE);
    const std::uint64_t connection_id = unit->disk.connection_id();
    WNBD_LOG(warning, "connection %llu: %s", static_cast<unsigned long long>(connection_id),
             victim != nullptr ? "a request is aborted" : "a reset ends all requests");
    engine::ResetWait& wait = static_cast<SrbExtension*>(view.extension())->wait;
    wait.srb = view.srb();
    const engine::StaleRule rule = stale_rule();
    const engine::Disk::Drain result = victim != nullptr
                                           ? unit->disk.abort(victim, rule, wait)
                                           : unit->disk.drain(engine::Cause::aborted, rule, wait);
    if (result.finished) device.port().finish(view, SRB_STATUS_SUCCESS);
    if (result.stale) handle_stale(device, connection_id);
}

void abort_command(AdapterDevice& device, SrbView view) noexcept {
    const void* const victim = view.victim();
    if (victim == nullptr) return device.port().finish(view, SRB_STATUS_INVALID_REQUEST);
    drain(device, view, find_unit(device, view), victim);
}

void reset_logical_unit(AdapterDevice& device, SrbView view) noexcept {
    drain(device, view, find_unit(device, view), nullptr);
}

// A target has one unit; whatever unit number the SRB bears, that one is meant.
void reset_target(AdapterDevice& device, SrbView view) noexcept {
    const SrbAddress address = view.address();
    drain(device, view, device.adapter().find(address.path, address.target, 0), nullptr);
}

}  // namespace

BOOLEAN start_io(PVOID extension, PSCSI_REQUEST_BLOCK srb) {
    auto& device = *static_cast<AdapterDevice*>(extension);
    const SrbView view(srb);
    if (view.extension() == nullptr) {
        device.port().finish(view, SRB_STATUS_INTERNAL_ERROR);
        return TRUE;
    }
    ::new (view.extension()) SrbExtension;
    switch (view.function()) {
        case SRB_FUNCTION_EXECUTE_SCSI: execute_scsi(device, view); break;
        case SRB_FUNCTION_ABORT_COMMAND: abort_command(device, view); break;
        case SRB_FUNCTION_RESET_LOGICAL_UNIT: reset_logical_unit(device, view); break;
        case SRB_FUNCTION_RESET_DEVICE: reset_target(device, view); break;
        case SRB_FUNCTION_FLUSH:
        case SRB_FUNCTION_SHUTDOWN: flush(device, view); break;
        case SRB_FUNCTION_PNP:
            device.port().finish(view, answer_pnp(find_unit(device, view), view));
            break;
        case SRB_FUNCTION_IO_CONTROL:
            device.port().finish(view, answer_io_control(find_unit(device, view), view));
            break;
        default: device.port().finish(view, SRB_STATUS_INVALID_REQUEST); break;
    }
    return TRUE;
}

// Nothing waits for this one but Storport's paused queues: a request under copy ends a moment
// later.
BOOLEAN reset_bus(PVOID extension, ULONG path) {
    auto& device = *static_cast<AdapterDevice*>(extension);
    if (path != 0) return TRUE;
    const engine::StaleRule rule = stale_rule();
    for (std::uint8_t target = 0; target < engine::max_disks; ++target) {
        const engine::UnitReference unit = device.adapter().unit_at(target);
        if (!unit) continue;
        WNBD_LOG(warning, "connection %llu: a bus reset ends all requests",
                 static_cast<unsigned long long>(unit->disk.connection_id()));
        const engine::Disk::Drain result = unit->disk.drain(engine::Cause::bus_reset, rule);
        if (result.stale) handle_stale(device, unit->disk.connection_id());
    }
    return TRUE;
}

}  // namespace wnbd::driver
