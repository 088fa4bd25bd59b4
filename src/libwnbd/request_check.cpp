// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/request_check.h"

#include "libwnbd/sense_mapping.h"

namespace wnbd::libwnbd {

namespace {

using scsi::AdditionalSense;

std::optional<AdditionalSense> fault_of_transfer(std::uint32_t block_count,
                                                 const ServerLimits& limits) noexcept {
    // The callback works in a buffer of this size: a driver's mistake must not become a heap
    // overflow in the application.
    if (std::uint64_t{block_count} * limits.block_size > limits.buffer_size)
        return AdditionalSense::invalid_field_in_cdb;
    return std::nullopt;
}

std::optional<AdditionalSense> fault_of_unmap(const WNBD_IO_REQUEST& request,
                                              const ServerLimits& limits) noexcept {
    const auto& unmap = request.Cmd.Unmap;
    if (!limits.unmap || !limits.flags.UnmapSupported)
        return AdditionalSense::invalid_command_operation_code;
    if (unmap.Anchor && !limits.flags.UnmapAnchorSupported)
        return AdditionalSense::invalid_field_in_cdb;
    const std::uint32_t fitting = limits.buffer_size / sizeof(WNBD_UNMAP_DESCRIPTOR);
    if (unmap.Count == 0 || unmap.Count > limits.unmap_count_max || unmap.Count > fitting)
        return AdditionalSense::invalid_field_in_parameter_list;
    return std::nullopt;
}

std::optional<AdditionalSense> fault_of(const WNBD_IO_REQUEST& request,
                                        const ServerLimits& limits) noexcept {
    constexpr auto unsupported = AdditionalSense::invalid_command_operation_code;
    switch (request.RequestType) {
        case WnbdReqTypeRead:
            if (!limits.read) return unsupported;
            return fault_of_transfer(request.Cmd.Read.BlockCount, limits);
        case WnbdReqTypeWrite:
            if (!limits.write) return unsupported;
            return fault_of_transfer(request.Cmd.Write.BlockCount, limits);
        case WnbdReqTypeFlush:
            if (!limits.flush || !limits.flags.FlushSupported) return unsupported;
            return std::nullopt;
        case WnbdReqTypeUnmap: return fault_of_unmap(request, limits);
        case WnbdReqTypePersistResIn:
            if (!limits.persistent_reserve_in || !limits.flags.PersistResSupported)
                return unsupported;
            return std::nullopt;
        case WnbdReqTypePersistResOut:
            if (!limits.persistent_reserve_out || !limits.flags.PersistResSupported)
                return unsupported;
            if (request.Cmd.PersistResOut.ParameterListLength > limits.buffer_size)
                return AdditionalSense::invalid_field_in_cdb;
            return std::nullopt;
        case WnbdReqTypeUnknown:
        case WnbdReqTypeDisconnect:
        default: return unsupported;
    }
}

}  // namespace

std::optional<WNBD_STATUS> refusal_of(const WNBD_IO_REQUEST& request,
                                      const ServerLimits& limits) noexcept {
    const auto fault = fault_of(request, limits);
    if (!fault) return std::nullopt;
    return check_condition({scsi::SenseKey::illegal_request, *fault});
}

}  // namespace wnbd::libwnbd
