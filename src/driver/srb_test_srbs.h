// SPDX-License-Identifier: LGPL-2.1-or-later
// SRBs of both forms for tests, in memory that ends where the SRB ends: a read beyond it is caught
// by AddressSanitizer.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "driver/srb_view.h"

namespace wnbd::driver::test {

struct ClassicSrb {
    explicit ClassicSrb(UCHAR function) : srb(std::make_unique<SCSI_REQUEST_BLOCK>()) {
        srb->Length = sizeof *srb;
        srb->Function = function;
    }
    void set_cdb(std::initializer_list<std::uint8_t> cdb) {
        std::memcpy(srb->Cdb, cdb.begin(), cdb.size());
        srb->CdbLength = static_cast<UCHAR>(cdb.size());
    }
    SrbView view() { return SrbView(srb.get()); }

    std::unique_ptr<SCSI_REQUEST_BLOCK> srb;
};

/// Header, address at 128, one block at 144.
class ExtendedSrb {
  public:
    static constexpr ULONG address_offset = 128;
    static constexpr ULONG block_offset = 144;

    explicit ExtendedSrb(ULONG function, std::size_t block_size = 0)
        : bytes_(new std::uint8_t[block_offset + block_size]()) {
        head().Length = sizeof(STORAGE_REQUEST_BLOCK);
        head().Function = SRB_FUNCTION_STORAGE_REQUEST_BLOCK;
        head().Signature = SRB_SIGNATURE;
        head().Version = STORAGE_REQUEST_BLOCK_VERSION_1;
        head().SrbLength = static_cast<ULONG>(block_offset + block_size);
        head().SrbFunction = function;
        head().AddressOffset = address_offset;
        head().NumSrbExData = block_size > 0 ? 1 : 0;
        head().SrbExDataOffset[0] = block_offset;
        address().Type = STOR_ADDRESS_TYPE_BTL8;
        address().AddressLength = STOR_ADDR_BTL8_ADDRESS_LENGTH;
    }

    STORAGE_REQUEST_BLOCK& head() {
        return *reinterpret_cast<STORAGE_REQUEST_BLOCK*>(bytes_.get());
    }
    STOR_ADDR_BTL8& address() {
        return *reinterpret_cast<STOR_ADDR_BTL8*>(bytes_.get() + address_offset);
    }
    template <typename Block>
    Block& block() {
        return *reinterpret_cast<Block*>(bytes_.get() + block_offset);
    }
    SrbView view() { return SrbView(bytes_.get()); }

  private:
    std::unique_ptr<std::uint8_t[]> bytes_;
};

}  // namespace wnbd::driver::test
