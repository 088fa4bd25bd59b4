// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/srb_view.h"

#include <algorithm>

namespace wnbd::driver {

namespace {

constexpr ULONG max_blocks = 16;  // more SRBEX blocks than any SRB carries

/// Address and blocks lie on 8-byte boundaries.
constexpr bool aligned(ULONG offset) noexcept {
    return offset % 8 == 0;
}

}  // namespace

template <typename T>
T* SrbView::block(SRBEXDATATYPE type) const noexcept {
    auto* const start = reinterpret_cast<std::uint8_t*>(extended_);
    const ULONG length = extended_->SrbLength;
    const ULONG count = std::min(extended_->NumSrbExData, max_blocks);
    for (ULONG i = 0; i < count; ++i) {
        const ULONG place = offsetof(STORAGE_REQUEST_BLOCK, SrbExDataOffset) + i * sizeof(ULONG);
        if (place + sizeof(ULONG) > length) break;
        const ULONG offset = *reinterpret_cast<const ULONG*>(start + place);
        const bool inside = offset >= sizeof(STORAGE_REQUEST_BLOCK) && offset < length &&
                            length - offset >= sizeof(T);
        if (!inside || !aligned(offset)) continue;
        if (reinterpret_cast<const SRBEX_DATA*>(start + offset)->Type == type)
            return reinterpret_cast<T*>(start + offset);
    }
    return nullptr;
}

SrbAddress SrbView::address() const noexcept {
    if (extended_ == nullptr) return {classic_->PathId, classic_->TargetId, classic_->Lun};
    const ULONG offset = extended_->AddressOffset;
    const ULONG length = extended_->SrbLength;
    if (offset < offsetof(STORAGE_REQUEST_BLOCK, SrbExDataOffset) || offset >= length ||
        length - offset < sizeof(STOR_ADDR_BTL8) || !aligned(offset))
        return {0xFF, 0xFF, 0xFF};
    const auto* const address = reinterpret_cast<const STOR_ADDR_BTL8*>(
        reinterpret_cast<const std::uint8_t*>(extended_) + offset);
    if (address->Type != STOR_ADDRESS_TYPE_BTL8) return {0xFF, 0xFF, 0xFF};
    return {address->Path, address->Target, address->Lun};
}

scsi::BufferUse SrbView::buffer_use() const noexcept {
    switch (flags() & (SRB_FLAGS_DATA_IN | SRB_FLAGS_DATA_OUT)) {
        case SRB_FLAGS_DATA_IN: return scsi::BufferUse::data_in;
        case SRB_FLAGS_DATA_OUT: return scsi::BufferUse::data_out;
        default: return scsi::BufferUse::any;
    }
}

std::span<const std::uint8_t> SrbView::variable_cdb(
    const SRBEX_DATA_SCSI_CDB_VAR& block) const noexcept {
    const auto* const start = reinterpret_cast<const std::uint8_t*>(extended_);
    const auto room = static_cast<std::size_t>(extended_->SrbLength - (block.Cdb - start));
    if (block.CdbLength > room) return {};
    return {block.Cdb, block.CdbLength};
}

std::span<const std::uint8_t> SrbView::cdb() const noexcept {
    if (!is_scsi()) return {};
    if (extended_ == nullptr)
        return {classic_->Cdb, std::min<std::size_t>(classic_->CdbLength, sizeof classic_->Cdb)};
    if (const auto* const small = block<SRBEX_DATA_SCSI_CDB16>(SrbExDataTypeScsiCdb16))
        return {small->Cdb, std::min<std::size_t>(small->CdbLength, sizeof small->Cdb)};
    if (const auto* const large = block<SRBEX_DATA_SCSI_CDB32>(SrbExDataTypeScsiCdb32))
        return {large->Cdb, std::min<std::size_t>(large->CdbLength, sizeof large->Cdb)};
    if (const auto* const any = block<SRBEX_DATA_SCSI_CDB_VAR>(SrbExDataTypeScsiCdbVar))
        return variable_cdb(*any);
    return {};
}

template <typename Look>
void SrbView::scsi_part(Look look) const noexcept {
    if (!is_scsi()) return;
    if (extended_ == nullptr) {
        look(*classic_);
    } else if (auto* const small = block<SRBEX_DATA_SCSI_CDB16>(SrbExDataTypeScsiCdb16)) {
        look(*small);
    } else if (auto* const large = block<SRBEX_DATA_SCSI_CDB32>(SrbExDataTypeScsiCdb32)) {
        look(*large);
    } else if (auto* const any = block<SRBEX_DATA_SCSI_CDB_VAR>(SrbExDataTypeScsiCdbVar)) {
        look(*any);
    }
}

std::span<std::uint8_t> SrbView::sense_buffer() const noexcept {
    if ((flags() & SRB_FLAGS_DISABLE_AUTOSENSE) != 0) return {};
    void* buffer = nullptr;
    UCHAR length = 0;
    scsi_part([&](auto& part) {
        buffer = part.SenseInfoBuffer;
        length = part.SenseInfoBufferLength;
    });
    if (buffer == nullptr) return {};
    return {static_cast<std::uint8_t*>(buffer), length};
}

void SrbView::set_scsi_status(UCHAR status) noexcept {
    scsi_part([&](auto& part) { part.ScsiStatus = status; });
}

void SrbView::set_sense_length(UCHAR length) noexcept {
    scsi_part([&](auto& part) { part.SenseInfoBufferLength = length; });
}

SrbPnp SrbView::pnp() const noexcept {
    if (function() != SRB_FUNCTION_PNP) return {};
    if (extended_ == nullptr) {
        const auto* const pnp = reinterpret_cast<const SCSI_PNP_REQUEST_BLOCK*>(classic_);
        return {true, pnp->PnPAction, pnp->SrbPnPFlags};
    }
    if (const auto* const pnp = block<SRBEX_DATA_PNP>(SrbExDataTypePnP))
        return {true, pnp->PnPAction, pnp->SrbPnPFlags};
    return {};
}

bool is_read_or_write(std::span<const std::uint8_t> cdb) noexcept {
    if (cdb.empty()) return false;
    switch (cdb[0]) {
        case 0x08:  // READ(6), (10), (12), (16)
        case 0x28:
        case 0xA8:
        case 0x88:
        case 0x0A:  // WRITE(6), (10), (12), (16)
        case 0x2A:
        case 0xAA:
        case 0x8A: return true;
        default: return false;
    }
}

}  // namespace wnbd::driver
