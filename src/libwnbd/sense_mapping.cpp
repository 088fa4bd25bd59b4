// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/sense_mapping.h"

#include "backend/sense.h"

namespace wnbd::libwnbd {

WNBD_STATUS check_condition(const scsi::Sense& sense) noexcept {
    WNBD_STATUS status{};
    status.ScsiStatus = static_cast<UINT8>(scsi::Status::check_condition);
    status.SenseKey = static_cast<UINT8>(sense.key);
    status.ASC = sense.asc;
    status.ASCQ = sense.ascq;
    status.Information = sense.information;
    status.InformationValid = sense.information_valid ? 1 : 0;
    return status;
}

WNBD_STATUS status_of(backend::Operation operation, backend::Error error) noexcept {
    if (error == backend::Error::none) return {};
    return check_condition(backend::sense_of(operation, error));
}

}  // namespace wnbd::libwnbd
