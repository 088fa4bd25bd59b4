// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/storport_port.h"

#include "driver/adapter_device.h"
#include "driver/log.h"
#include "driver/srb_functions.h"

namespace wnbd::driver {

namespace {

UCHAR srb_status_of(engine::Cause cause) noexcept {
    switch (cause) {
        case engine::Cause::aborted: return SRB_STATUS_ABORTED;
        case engine::Cause::bus_reset: return SRB_STATUS_BUS_RESET;
        case engine::Cause::removed: return SRB_STATUS_NO_DEVICE;
        case engine::Cause::answered:  // goes through apply_answer()
        case engine::Cause::failed: break;
    }
    return SRB_STATUS_INTERNAL_ERROR;
}

}  // namespace

void StorportPort::finish(SrbView view, UCHAR status) noexcept {
    const bool is_error = status != SRB_STATUS_SUCCESS && status != SRB_STATUS_BUSY;
    if (is_error) view.set_data_length(0);
    if (status == SRB_STATUS_INTERNAL_ERROR) view.set_system_status(STATUS_IO_DEVICE_ERROR);
    view.set_status(status);
    StorPortNotification(RequestComplete, device_.extension(), view.srb());
}

void StorportPort::finish(SrbView view, const scsi::Answer& answer) noexcept {
    apply_answer(view, answer);
    StorPortNotification(RequestComplete, device_.extension(), view.srb());
}

void StorportPort::complete(void* srb, engine::Cause cause, const scsi::Answer& answer) noexcept {
    const SrbView view(srb);
    if (cause == engine::Cause::answered)
        finish(view, answer);
    else
        finish(view, srb_status_of(cause));
}

std::span<std::uint8_t> StorportPort::data(void* srb) noexcept {
    const SrbView view(srb);
    if (!is_read_or_write(view.cdb())) return view.data_buffer();
    auto* const extension = static_cast<SrbExtension*>(view.extension());
    if (extension->mapped == nullptr && view.data_length() > 0) {
        void* address = nullptr;
        const ULONG status = StorPortExtendedFunction(ExtFunctionGetSystemAddress,
                                                      device_.extension(), srb, &address);
        if (status != STOR_STATUS_SUCCESS || address == nullptr) {
            WNBD_LOG(warning, "a data buffer of %lu bytes could not be mapped: 0x%lx",
                     static_cast<unsigned long>(view.data_length()),
                     static_cast<unsigned long>(status));
            return {};
        }
        extension->mapped = address;
    }
    if (extension->mapped == nullptr) return {};
    return {static_cast<std::uint8_t*>(extension->mapped), view.data_length()};
}

void StorportPort::reset_done(void* reset_srb) noexcept {
    finish(SrbView(reset_srb), SRB_STATUS_SUCCESS);
}

void StorportPort::disks_changed() noexcept {
    StorPortNotification(BusChangeDetected, device_.extension(), UCHAR{0});
}

void StorportPort::schedule_removal(std::uint64_t connection_id) noexcept {
    device_.schedule_removal(connection_id);
}

}  // namespace wnbd::driver
