// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/srb_view.h"

#include <gtest/gtest.h>

#include "driver/srb_test_srbs.h"

namespace wnbd::driver {
namespace {

using test::ClassicSrb;
using test::ExtendedSrb;

std::vector<std::uint8_t> bytes_of(std::span<const std::uint8_t> span) {
    return {span.begin(), span.end()};
}

TEST(SrbView, ReadsAClassicSrb) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    srb.srb->TargetId = 7;
    srb.srb->Lun = 1;
    srb.set_cdb({0x28, 0, 0, 0, 0, 1, 0, 0, 8, 0});
    srb.srb->DataTransferLength = 4096;
    std::uint8_t sense[18];
    srb.srb->SenseInfoBuffer = sense;
    srb.srb->SenseInfoBufferLength = sizeof sense;
    int extension = 0;
    srb.srb->SrbExtension = &extension;

    SrbView view = srb.view();
    EXPECT_EQ(view.function(), SRB_FUNCTION_EXECUTE_SCSI);
    EXPECT_EQ(view.address().target, 7);
    EXPECT_EQ(view.address().lun, 1);
    EXPECT_EQ(view.cdb().size(), 10U);
    EXPECT_EQ(view.cdb()[0], 0x28);
    EXPECT_EQ(view.data_length(), 4096U);
    EXPECT_TRUE(view.data_buffer().empty()) << "Storport gave no address";
    EXPECT_EQ(view.sense_buffer().data(), sense);
    EXPECT_EQ(view.sense_buffer().size(), sizeof sense);
    EXPECT_EQ(view.extension(), &extension);
}

TEST(SrbView, ReadsEveryKindOfExtendedCdb) {
    ExtendedSrb small(SRB_FUNCTION_EXECUTE_SCSI, sizeof(SRBEX_DATA_SCSI_CDB16));
    auto& cdb16 = small.block<SRBEX_DATA_SCSI_CDB16>();
    cdb16.Type = SrbExDataTypeScsiCdb16;
    cdb16.CdbLength = 6;
    cdb16.Cdb[0] = 0x12;
    EXPECT_EQ(bytes_of(small.view().cdb()), (std::vector<std::uint8_t>{0x12, 0, 0, 0, 0, 0}));

    ExtendedSrb large(SRB_FUNCTION_EXECUTE_SCSI, sizeof(SRBEX_DATA_SCSI_CDB32));
    auto& cdb32 = large.block<SRBEX_DATA_SCSI_CDB32>();
    cdb32.Type = SrbExDataTypeScsiCdb32;
    cdb32.CdbLength = 32;
    cdb32.Cdb[31] = 0x5A;
    EXPECT_EQ(large.view().cdb().size(), 32U);
    EXPECT_EQ(large.view().cdb().back(), 0x5A);

    constexpr std::size_t cdb_length = 260;
    ExtendedSrb any(SRB_FUNCTION_EXECUTE_SCSI, offsetof(SRBEX_DATA_SCSI_CDB_VAR, Cdb) + cdb_length);
    auto& variable = any.block<SRBEX_DATA_SCSI_CDB_VAR>();
    variable.Type = SrbExDataTypeScsiCdbVar;
    variable.CdbLength = cdb_length;
    EXPECT_EQ(any.view().cdb().size(), cdb_length);
    variable.CdbLength = cdb_length + 1;
    EXPECT_TRUE(any.view().cdb().empty()) << "it would end behind the SRB";
}

TEST(SrbView, ReadsAnExtendedAddress) {
    ExtendedSrb srb(SRB_FUNCTION_FLUSH);
    srb.address().Path = 0;
    srb.address().Target = 127;
    EXPECT_EQ(srb.view().address().target, 127);
    EXPECT_EQ(srb.view().address().lun, 0);
}

TEST(SrbView, AnAddressItCantReadIsNoDisksAddress) {
    ExtendedSrb srb(SRB_FUNCTION_FLUSH);
    srb.address().Type = 2;
    EXPECT_EQ(srb.view().address().path, 0xFF);
    for (const ULONG offset : {0U, 119U, 129U, 140U, 0xFFFFFFF8U}) {
        srb.head().AddressOffset = offset;
        EXPECT_EQ(srb.view().address().path, 0xFF) << offset;
    }
}

TEST(SrbView, ABlockThatIsNotWhollyInsideIsNotRead) {
    constexpr ULONG block_size = sizeof(SRBEX_DATA_SCSI_CDB16);
    ExtendedSrb srb(SRB_FUNCTION_EXECUTE_SCSI, block_size);
    auto& block = srb.block<SRBEX_DATA_SCSI_CDB16>();
    block.Type = SrbExDataTypeScsiCdb16;
    block.CdbLength = 6;
    ASSERT_FALSE(srb.view().cdb().empty());
    for (const ULONG offset : {0U, 64U, 127U, ExtendedSrb::block_offset + 1,
                               ExtendedSrb::block_offset + block_size, 0xFFFFFFF8U}) {
        srb.head().SrbExDataOffset[0] = offset;
        EXPECT_TRUE(srb.view().cdb().empty()) << offset;
        EXPECT_TRUE(srb.view().sense_buffer().empty()) << offset;
        srb.view().set_scsi_status(SCSISTAT_BUSY);
        EXPECT_EQ(block.ScsiStatus, 0) << offset;
    }
}

TEST(SrbView, ACountOfBlocksLargerThanTheSrbIsHarmless) {
    ExtendedSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    srb.head().NumSrbExData = 0xFFFFFFFF;
    srb.head().SrbExDataOffset[0] = 0;
    EXPECT_TRUE(srb.view().cdb().empty());
}

TEST(SrbView, ABlockBehindOneOfAnotherTypeIsFound) {
    constexpr ULONG second = sizeof(SRBEX_DATA_PNP);
    ExtendedSrb srb(SRB_FUNCTION_EXECUTE_SCSI, second + sizeof(SRBEX_DATA_SCSI_CDB16));
    srb.block<SRBEX_DATA_PNP>().Type = SrbExDataTypePnP;
    auto* const bytes = reinterpret_cast<std::uint8_t*>(&srb.block<SRBEX_DATA_PNP>());
    auto& cdb = *reinterpret_cast<SRBEX_DATA_SCSI_CDB16*>(bytes + second);
    cdb.Type = SrbExDataTypeScsiCdb16;
    cdb.CdbLength = 6;
    srb.head().NumSrbExData = 2;
    // The second offset lies behind the first; the header declares room for one.
    (&srb.head().SrbExDataOffset[0])[1] = ExtendedSrb::block_offset + second;
    EXPECT_EQ(srb.view().cdb().size(), 6U);
    srb.head().NumSrbExData = 1;
    EXPECT_TRUE(srb.view().cdb().empty());
}

TEST(SrbView, AnAddressInsideTheHeaderIsNone) {
    ExtendedSrb srb(SRB_FUNCTION_FLUSH);
    auto* const header = reinterpret_cast<std::uint8_t*>(&srb.head());
    constexpr ULONG inside = 112;
    std::memcpy(header + inside, &srb.address(), sizeof(STOR_ADDR_BTL8));
    srb.head().AddressOffset = inside;
    EXPECT_EQ(srb.view().address().path, 0xFF);
}

TEST(SrbView, ACdbLengthBeyondItsBlockIsCut) {
    ClassicSrb classic(SRB_FUNCTION_EXECUTE_SCSI);
    classic.srb->CdbLength = 255;
    EXPECT_EQ(classic.view().cdb().size(), 16U);
    ExtendedSrb extended(SRB_FUNCTION_EXECUTE_SCSI, sizeof(SRBEX_DATA_SCSI_CDB16));
    extended.block<SRBEX_DATA_SCSI_CDB16>().Type = SrbExDataTypeScsiCdb16;
    extended.block<SRBEX_DATA_SCSI_CDB16>().CdbLength = 255;
    EXPECT_EQ(extended.view().cdb().size(), 16U);
    ExtendedSrb large(SRB_FUNCTION_EXECUTE_SCSI, sizeof(SRBEX_DATA_SCSI_CDB32));
    large.block<SRBEX_DATA_SCSI_CDB32>().Type = SrbExDataTypeScsiCdb32;
    large.block<SRBEX_DATA_SCSI_CDB32>().CdbLength = 255;
    EXPECT_EQ(large.view().cdb().size(), 32U);
}

TEST(SrbView, WithoutAutosenseThereIsNoSenseBuffer) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    std::uint8_t sense[18];
    srb.srb->SenseInfoBuffer = sense;
    srb.srb->SenseInfoBufferLength = sizeof sense;
    srb.srb->SrbFlags = SRB_FLAGS_DISABLE_AUTOSENSE;
    EXPECT_TRUE(srb.view().sense_buffer().empty());
}

TEST(SrbView, TellsWhatTheBufferIsFor) {
    constexpr ULONG both = SRB_FLAGS_DATA_IN | SRB_FLAGS_DATA_OUT;
    ClassicSrb classic(SRB_FUNCTION_EXECUTE_SCSI);
    ExtendedSrb extended(SRB_FUNCTION_EXECUTE_SCSI);
    const auto use_of = [&](ULONG flags) {
        classic.srb->SrbFlags = SRB_FLAGS_DISABLE_AUTOSENSE | flags;
        extended.head().SrbFlags = SRB_FLAGS_DISABLE_AUTOSENSE | flags;
        EXPECT_EQ(classic.view().buffer_use(), extended.view().buffer_use());
        return classic.view().buffer_use();
    };
    EXPECT_EQ(use_of(SRB_FLAGS_DATA_IN), scsi::BufferUse::data_in);
    EXPECT_EQ(use_of(SRB_FLAGS_DATA_OUT), scsi::BufferUse::data_out);
    EXPECT_EQ(use_of(both), scsi::BufferUse::any);
    EXPECT_EQ(use_of(0), scsi::BufferUse::any);
}

TEST(SrbView, ReadsPnpOfBothForms) {
    ClassicSrb classic(SRB_FUNCTION_PNP);
    auto& classic_pnp = reinterpret_cast<SCSI_PNP_REQUEST_BLOCK&>(*classic.srb);
    classic_pnp.PnPAction = StorQueryCapabilities;
    classic_pnp.SrbPnPFlags = SRB_PNP_FLAGS_ADAPTER_REQUEST;
    EXPECT_TRUE(classic.view().pnp().present);
    EXPECT_EQ(classic.view().pnp().action, StorQueryCapabilities);
    EXPECT_EQ(classic.view().pnp().flags, SRB_PNP_FLAGS_ADAPTER_REQUEST);

    ExtendedSrb extended(SRB_FUNCTION_PNP, sizeof(SRBEX_DATA_PNP));
    EXPECT_FALSE(extended.view().pnp().present) << "the block is of another type";
    extended.block<SRBEX_DATA_PNP>().Type = SrbExDataTypePnP;
    extended.block<SRBEX_DATA_PNP>().PnPAction = StorRemoveDevice;
    EXPECT_EQ(extended.view().pnp().action, StorRemoveDevice);
}

TEST(SrbView, KnowsWhichBuffersStorportLeavesUnmapped) {
    unsigned count = 0;
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        const std::uint8_t cdb[] = {static_cast<std::uint8_t>(opcode)};
        if (is_read_or_write(cdb)) ++count;
    }
    EXPECT_EQ(count, 8U);
    for (const std::uint8_t opcode : {0x08, 0x28, 0xA8, 0x88, 0x0A, 0x2A, 0xAA, 0x8A})
        EXPECT_TRUE(is_read_or_write(std::span(&opcode, 1))) << unsigned{opcode};
    EXPECT_FALSE(is_read_or_write({}));
}

}  // namespace
}  // namespace wnbd::driver
