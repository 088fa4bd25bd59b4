// SPDX-License-Identifier: LGPL-2.1-or-later
// SRB_FUNCTION_IO_CONTROL. The one request we know asks for firmware information: we tell what
// there is, one read-only slot, and that it can't be upgraded. Everything comes from user space.
#include <algorithm>
#include <cstring>

#include "driver/ddk/firmware.h"
#include "driver/srb_functions.h"

namespace wnbd::driver {

namespace {

/// The caller's buffer holds the header, and as many bytes after it as the header claims.
bool is_whole(std::span<const std::uint8_t> buffer, SRB_IO_CONTROL& header) noexcept {
    if (buffer.size() < sizeof header) return false;
    std::memcpy(&header, buffer.data(), sizeof header);
    return header.HeaderLength == sizeof header && header.Length <= buffer.size() - sizeof header;
}

STORAGE_FIRMWARE_INFO_V2 firmware_of(engine::Unit& unit) noexcept {
    STORAGE_FIRMWARE_INFO_V2 info{};
    info.Version = STORAGE_FIRMWARE_INFO_STRUCTURE_VERSION_V2;
    info.Size = sizeof info;
    info.UpgradeSupport = 0;
    info.SlotCount = 1;
    info.ActiveSlot = 0;
    info.PendingActivateSlot = STORAGE_FIRMWARE_INFO_INVALID_SLOT;
    info.Slot[0].ReadOnly = 1;
    const char* const revision = unit.disk.description().revision;
    const std::size_t length = std::min(std::strlen(revision), sizeof info.Slot[0].Revision);
    std::memcpy(info.Slot[0].Revision, revision, length);
    return info;
}

/// Gives the firmware status. `buffer` is the SRB_IO_CONTROL with what belongs to it.
ULONG answer_firmware(engine::Unit& unit, std::span<std::uint8_t> buffer) noexcept {
    FIRMWARE_REQUEST_BLOCK request;
    constexpr std::size_t request_end = sizeof(SRB_IO_CONTROL) + sizeof request;
    if (buffer.size() < request_end) return FIRMWARE_STATUS_INVALID_PARAMETER;
    std::memcpy(&request, buffer.data() + sizeof(SRB_IO_CONTROL), sizeof request);
    if (request.Version != FIRMWARE_REQUEST_BLOCK_STRUCTURE_VERSION ||
        request.Size < sizeof request)
        return FIRMWARE_STATUS_INVALID_PARAMETER;
    if (request.Function != FIRMWARE_FUNCTION_GET_INFO) return FIRMWARE_STATUS_ILLEGAL_REQUEST;
    if (request.DataBufferOffset < request_end || request.DataBufferOffset > buffer.size() ||
        request.DataBufferLength > buffer.size() - request.DataBufferOffset)
        return FIRMWARE_STATUS_INVALID_PARAMETER;
    const STORAGE_FIRMWARE_INFO_V2 info = firmware_of(unit);
    if (request.DataBufferLength < sizeof info) return FIRMWARE_STATUS_OUTPUT_BUFFER_TOO_SMALL;
    std::memcpy(buffer.data() + request.DataBufferOffset, &info, sizeof info);
    return FIRMWARE_STATUS_SUCCESS;
}

}  // namespace

UCHAR answer_io_control(const engine::UnitReference& unit, SrbView view) noexcept {
    const std::span<std::uint8_t> buffer = view.data_buffer();
    SRB_IO_CONTROL header;
    if (!is_whole(buffer, header)) return SRB_STATUS_INVALID_REQUEST;
    const bool is_firmware = header.ControlCode == IOCTL_SCSI_MINIPORT_FIRMWARE &&
                             std::memcmp(header.Signature, IOCTL_MINIPORT_SIGNATURE_FIRMWARE,
                                         sizeof header.Signature) == 0;
    if (!is_firmware) return SRB_STATUS_INVALID_REQUEST;
    if (!unit) return SRB_STATUS_NO_DEVICE;
    header.ReturnCode = answer_firmware(*unit, buffer.first(sizeof header + header.Length));
    std::memcpy(buffer.data(), &header, sizeof header);
    return SRB_STATUS_SUCCESS;
}

}  // namespace wnbd::driver
