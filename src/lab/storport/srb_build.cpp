// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/storport/srb_build.h"

#include <algorithm>
#include <cstring>

namespace wnbd::lab {
namespace {

constexpr std::uint32_t kAddressOffset = sizeof(STORAGE_REQUEST_BLOCK);
constexpr std::uint32_t kDataOffset = kAddressOffset + sizeof(STOR_ADDR_BTL8);
constexpr std::uint8_t kReadWriteOpcodes[] = {0x08, 0x0A, 0x28, 0x2A, 0x88, 0x8A, 0xA8, 0xAA};

void build_classic(void* memory, const Request& request, const SrbParts& parts) {
    auto& srb = *static_cast<SCSI_REQUEST_BLOCK*>(memory);
    srb.Length = sizeof srb;
    srb.Function = request.function;
    srb.SrbStatus = SRB_STATUS_PENDING;
    srb.PathId = request.address.path;
    srb.TargetId = request.address.target;
    srb.Lun = request.address.lun;
    srb.QueueTag = static_cast<UCHAR>(parts.tag % 255);
    srb.QueueAction = SRB_SIMPLE_TAG_REQUEST;
    srb.SrbFlags = parts.flags;
    srb.DataTransferLength = request.data_length;
    srb.TimeOutValue = request.timeout_seconds;
    srb.DataBuffer = parts.data_buffer;
    srb.NextSrb = static_cast<SCSI_REQUEST_BLOCK*>(parts.next);
    srb.SrbExtension = parts.extension;
    if (request.function == SRB_FUNCTION_PNP) {
        auto& pnp = *static_cast<SCSI_PNP_REQUEST_BLOCK*>(memory);
        pnp.PnPSubFunction = 0;
        pnp.PnPAction = static_cast<STOR_PNP_ACTION>(request.pnp_action);
        pnp.SrbPnPFlags = 0;
        return;
    }
    srb.SenseInfoBuffer = parts.sense;
    srb.SenseInfoBufferLength = parts.sense_length;
    srb.CdbLength = std::min<std::uint8_t>(request.cdb_length, sizeof srb.Cdb);
    std::memcpy(srb.Cdb, request.cdb, srb.CdbLength);
}

void add_cdb16(void* at, const Request& request, const SrbParts& parts) {
    auto& block = *static_cast<SRBEX_DATA_SCSI_CDB16*>(at);
    block.Type = SrbExDataTypeScsiCdb16;
    block.Length = sizeof block - SRBEX_DATA_HEADER_LENGTH;
    block.SenseInfoBuffer = parts.sense;
    block.SenseInfoBufferLength = parts.sense_length;
    block.CdbLength = request.cdb_length;
    std::memcpy(block.Cdb, request.cdb, request.cdb_length);
}

void add_cdb32(void* at, const Request& request, const SrbParts& parts) {
    auto& block = *static_cast<SRBEX_DATA_SCSI_CDB32*>(at);
    block.Type = SrbExDataTypeScsiCdb32;
    block.Length = sizeof block - SRBEX_DATA_HEADER_LENGTH;
    block.SenseInfoBuffer = parts.sense;
    block.SenseInfoBufferLength = parts.sense_length;
    block.CdbLength = request.cdb_length;
    std::memcpy(block.Cdb, request.cdb, request.cdb_length);
}

void build_extended(void* memory, const Request& request, const SrbParts& parts) {
    auto& srb = *static_cast<STORAGE_REQUEST_BLOCK*>(memory);
    auto* bytes = static_cast<std::uint8_t*>(memory);
    srb.Length = sizeof srb;
    srb.Function = SRB_FUNCTION_STORAGE_REQUEST_BLOCK;
    srb.SrbStatus = SRB_STATUS_PENDING;
    srb.Signature = SRB_SIGNATURE;
    srb.Version = STORAGE_REQUEST_BLOCK_VERSION_1;
    srb.SrbLength = kDataOffset;
    srb.SrbFunction = request.function;
    srb.SrbFlags = parts.flags;
    srb.RequestTag = parts.tag;
    srb.RequestAttribute = SRB_SIMPLE_TAG_REQUEST;
    srb.TimeOutValue = request.timeout_seconds;
    srb.AddressOffset = kAddressOffset;
    srb.DataTransferLength = request.data_length;
    srb.DataBuffer = parts.data_buffer;
    srb.NextSrb = static_cast<STORAGE_REQUEST_BLOCK*>(parts.next);
    srb.MiniportContext = parts.extension;

    auto& address = *reinterpret_cast<STOR_ADDR_BTL8*>(bytes + kAddressOffset);
    address.Type = STOR_ADDRESS_TYPE_BTL8;
    address.AddressLength = STOR_ADDR_BTL8_ADDRESS_LENGTH;
    address.Path = request.address.path;
    address.Target = request.address.target;
    address.Lun = request.address.lun;

    std::uint32_t block_bytes = 0;
    if (request.function == SRB_FUNCTION_EXECUTE_SCSI && request.cdb_length <= 16) {
        add_cdb16(bytes + kDataOffset, request, parts);
        block_bytes = sizeof(SRBEX_DATA_SCSI_CDB16);
    } else if (request.function == SRB_FUNCTION_EXECUTE_SCSI) {
        add_cdb32(bytes + kDataOffset, request, parts);
        block_bytes = sizeof(SRBEX_DATA_SCSI_CDB32);
    } else if (request.function == SRB_FUNCTION_PNP) {
        auto& block = *reinterpret_cast<SRBEX_DATA_PNP*>(bytes + kDataOffset);
        block.Type = SrbExDataTypePnP;
        block.Length = sizeof block - SRBEX_DATA_HEADER_LENGTH;
        block.PnPAction = static_cast<STOR_PNP_ACTION>(request.pnp_action);
        block_bytes = sizeof block;
    }
    if (block_bytes == 0) return;
    srb.NumSrbExData = 1;
    srb.SrbExDataOffset[0] = kDataOffset;
    srb.SrbLength += block_bytes;
}

}  // namespace

void build_srb(void* memory, bool extended, const Request& request, const SrbParts& parts) {
    if (extended)
        build_extended(memory, request, parts);
    else
        build_classic(memory, request, parts);
}

bool is_read_or_write(const Request& request) {
    return request.function == SRB_FUNCTION_EXECUTE_SCSI && request.cdb_length > 0 &&
           std::find(std::begin(kReadWriteOpcodes), std::end(kReadWriteOpcodes), request.cdb[0]) !=
               std::end(kReadWriteOpcodes);
}

SrbAnswer read_answer(const void* memory, bool extended) {
    if (!extended) {
        const auto& srb = *static_cast<const SCSI_REQUEST_BLOCK*>(memory);
        return {srb.SrbStatus, srb.ScsiStatus, srb.SenseInfoBufferLength, srb.DataTransferLength,
                static_cast<std::int32_t>(srb.InternalStatus)};
    }
    const auto& srb = *static_cast<const STORAGE_REQUEST_BLOCK*>(memory);
    SrbAnswer answer{srb.SrbStatus, SCSISTAT_GOOD, 0, srb.DataTransferLength,
                     static_cast<std::int32_t>(srb.SystemStatus)};
    if (srb.SrbFunction == SRB_FUNCTION_EXECUTE_SCSI) {
        // Cdb16 and Cdb32 agree in the fields read here.
        const auto& block = *reinterpret_cast<const SRBEX_DATA_SCSI_CDB16*>(
            static_cast<const std::uint8_t*>(memory) + kDataOffset);
        answer.scsi_status = block.ScsiStatus;
        answer.sense_length = block.SenseInfoBufferLength;
    }
    return answer;
}

}  // namespace wnbd::lab
