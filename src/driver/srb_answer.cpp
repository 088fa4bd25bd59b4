// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>

#include "driver/srb_functions.h"

namespace wnbd::driver {

namespace {

UCHAR srb_status_of(scsi::Status status) noexcept {
    switch (status) {
        case scsi::Status::good:
        case scsi::Status::condition_met: return SRB_STATUS_SUCCESS;
        case scsi::Status::task_aborted: return SRB_STATUS_ABORTED;
        case scsi::Status::busy:
        case scsi::Status::task_set_full:  // Storport looks at the SCSI status of these two
        case scsi::Status::check_condition:
        case scsi::Status::reservation_conflict: break;
    }
    return SRB_STATUS_ERROR;
}

}  // namespace

void apply_answer(SrbView view, const scsi::Answer& answer) noexcept {
    UCHAR status = srb_status_of(answer.status);
    if (answer.status == scsi::Status::check_condition) {
        const std::span<std::uint8_t> room = view.sense_buffer();
        if (const std::size_t length = scsi::encode_fixed_sense(answer.sense, room); length > 0) {
            view.set_sense_length(static_cast<UCHAR>(length));
            status |= SRB_STATUS_AUTOSENSE_VALID;
        }
    }
    view.set_scsi_status(static_cast<UCHAR>(answer.status));
    view.set_data_length(
        static_cast<ULONG>(std::min<std::size_t>(answer.transferred, view.data_length())));
    view.set_status(status);
}

}  // namespace wnbd::driver
