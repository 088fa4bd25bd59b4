// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/sense_mapping.h"

namespace wnbd::libwnbd {

namespace {

// SPC-4 annex F, as far as scsi/sense.h does not need them.
constexpr auto not_ready_cause_not_reportable = scsi::AdditionalSense{0x0400};
constexpr auto access_denied_no_access_rights = scsi::AdditionalSense{0x2002};
constexpr auto insufficient_resources = scsi::AdditionalSense{0x5503};

scsi::Sense sense_of(backend::Operation operation, backend::Error error) noexcept {
    using scsi::AdditionalSense;
    using scsi::SenseKey;
    const bool changes = operation != backend::Operation::read;
    switch (error) {
        case backend::Error::not_permitted:
            if (changes && operation != backend::Operation::flush)
                return {SenseKey::data_protect, AdditionalSense::write_protected};
            return {SenseKey::illegal_request, access_denied_no_access_rights};
        case backend::Error::no_memory: return {SenseKey::aborted_command, insufficient_resources};
        case backend::Error::invalid:
        case backend::Error::overflow:
            return {SenseKey::illegal_request, AdditionalSense::invalid_field_in_cdb};
        case backend::Error::no_space:
            return {SenseKey::data_protect, AdditionalSense::space_allocation_failed_write_protect};
        case backend::Error::not_supported:
            return {SenseKey::illegal_request, AdditionalSense::invalid_command_operation_code};
        case backend::Error::shutting_down:
            return {SenseKey::not_ready, not_ready_cause_not_reportable};
        case backend::Error::disconnected:
            return {SenseKey::not_ready, AdditionalSense::logical_unit_communication_failure};
        case backend::Error::none:
        case backend::Error::io: break;
    }
    return {SenseKey::medium_error,
            changes ? AdditionalSense::write_error : AdditionalSense::unrecovered_read_error};
}

}  // namespace

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
    return check_condition(sense_of(operation, error));
}

}  // namespace wnbd::libwnbd
