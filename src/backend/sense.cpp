// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/sense.h"

namespace wnbd::backend {
namespace {

// SPC-4 annex F, as far as scsi/sense.h does not need them.
constexpr auto not_ready_cause_not_reportable = scsi::AdditionalSense{0x0400};
constexpr auto access_denied_no_access_rights = scsi::AdditionalSense{0x2002};
constexpr auto insufficient_resources = scsi::AdditionalSense{0x5503};

}  // namespace

scsi::Sense sense_of(Operation operation, Error error) noexcept {
    using scsi::AdditionalSense;
    using scsi::SenseKey;
    const bool changes = operation != Operation::read && operation != Operation::extents;
    switch (error) {
        case Error::not_permitted:
            if (changes && operation != Operation::flush)
                return {SenseKey::data_protect, AdditionalSense::write_protected};
            return {SenseKey::illegal_request, access_denied_no_access_rights};
        case Error::no_memory: return {SenseKey::aborted_command, insufficient_resources};
        case Error::invalid:
        case Error::overflow:
            return {SenseKey::illegal_request, AdditionalSense::invalid_field_in_cdb};
        case Error::no_space:
            return {SenseKey::data_protect, AdditionalSense::space_allocation_failed_write_protect};
        case Error::not_supported:
            return {SenseKey::illegal_request, AdditionalSense::invalid_command_operation_code};
        case Error::shutting_down: return {SenseKey::not_ready, not_ready_cause_not_reportable};
        case Error::disconnected:
            return {SenseKey::not_ready, AdditionalSense::logical_unit_communication_failure};
        case Error::none:
        case Error::io: break;
    }
    return {SenseKey::medium_error,
            changes ? AdditionalSense::write_error : AdditionalSense::unrecovered_read_error};
}

}  // namespace wnbd::backend
