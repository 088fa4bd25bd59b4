// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "driver/srb_functions.h"
#include "driver/srb_test_srbs.h"

namespace wnbd::driver {
namespace {

using test::ClassicSrb;
using test::ExtendedSrb;

constexpr auto refused = scsi::AdditionalSense::invalid_field_in_cdb;

TEST(SrbAnswer, GoodIsSuccessWithTheLengthTransferred) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    srb.srb->DataTransferLength = 255;
    scsi::Answer answer;
    answer.transferred = 96;
    apply_answer(srb.view(), answer);
    EXPECT_EQ(srb.srb->SrbStatus, SRB_STATUS_SUCCESS);
    EXPECT_EQ(srb.srb->ScsiStatus, SCSISTAT_GOOD);
    EXPECT_EQ(srb.srb->DataTransferLength, 96U);
}

TEST(SrbAnswer, NeverClaimsMoreThanTheBufferHolds) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    srb.srb->DataTransferLength = 36;
    scsi::Answer answer;
    answer.transferred = 96;
    apply_answer(srb.view(), answer);
    EXPECT_EQ(srb.srb->DataTransferLength, 36U);
}

TEST(SrbAnswer, ACheckConditionFillsTheSenseBuffer) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    std::uint8_t sense[32];
    std::memset(sense, 0xEE, sizeof sense);
    srb.srb->SenseInfoBuffer = sense;
    srb.srb->SenseInfoBufferLength = sizeof sense;
    apply_answer(srb.view(), scsi::refuse(scsi::SenseKey::illegal_request, refused));
    EXPECT_EQ(srb.srb->SrbStatus, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
    EXPECT_EQ(srb.srb->ScsiStatus, SCSISTAT_CHECK_CONDITION);
    EXPECT_EQ(srb.srb->DataTransferLength, 0U);
    EXPECT_EQ(sense[0], 0x70);
    EXPECT_EQ(sense[2], 5);
    EXPECT_EQ(sense[7], 10);
    EXPECT_EQ(sense[12], 0x24);
    EXPECT_EQ(sense[18], 0xEE) << "fixed sense data has 18 bytes";
    EXPECT_EQ(srb.srb->SenseInfoBufferLength, 18) << "an underrun, which has to be told";
}

template <typename Block>
void expect_sense_length(SRBEXDATATYPE type) {
    ExtendedSrb srb(SRB_FUNCTION_EXECUTE_SCSI, sizeof(Block));
    std::uint8_t sense[252];
    auto& block = srb.block<Block>();
    block.Type = type;
    block.SenseInfoBuffer = sense;
    block.SenseInfoBufferLength = sizeof sense;
    apply_answer(srb.view(), scsi::refuse(scsi::SenseKey::illegal_request, refused));
    EXPECT_EQ(srb.head().SrbStatus, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
    EXPECT_EQ(block.SenseInfoBufferLength, 18) << type;
}

TEST(SrbAnswer, TheLengthOfTheSenseDataIsToldInEveryForm) {
    expect_sense_length<SRBEX_DATA_SCSI_CDB16>(SrbExDataTypeScsiCdb16);
    expect_sense_length<SRBEX_DATA_SCSI_CDB32>(SrbExDataTypeScsiCdb32);
    expect_sense_length<SRBEX_DATA_SCSI_CDB_VAR>(SrbExDataTypeScsiCdbVar);
}

TEST(SrbAnswer, WithoutSenseDataTheLengthOfItsBufferStays) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    std::uint8_t sense[32];
    srb.srb->SenseInfoBuffer = sense;
    srb.srb->SenseInfoBufferLength = sizeof sense;
    apply_answer(srb.view(), scsi::Answer{});
    EXPECT_EQ(srb.srb->SenseInfoBufferLength, sizeof sense);
}

TEST(SrbAnswer, SenseDataIsCutToTheBuffer) {
    ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
    std::uint8_t sense[18];
    std::memset(sense, 0xEE, sizeof sense);
    srb.srb->SenseInfoBuffer = sense;
    srb.srb->SenseInfoBufferLength = 8;
    apply_answer(srb.view(), scsi::refuse(scsi::SenseKey::illegal_request, refused));
    EXPECT_EQ(srb.srb->SrbStatus, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
    EXPECT_EQ(sense[2], 5);
    EXPECT_EQ(sense[8], 0xEE);
    EXPECT_EQ(srb.srb->SenseInfoBufferLength, 8);
}

TEST(SrbAnswer, WithoutABufferThereIsNoAutosense) {
    ExtendedSrb srb(SRB_FUNCTION_EXECUTE_SCSI, sizeof(SRBEX_DATA_SCSI_CDB16));
    auto& block = srb.block<SRBEX_DATA_SCSI_CDB16>();
    block.Type = SrbExDataTypeScsiCdb16;
    block.SenseInfoBufferLength = 18;
    apply_answer(srb.view(), scsi::refuse(scsi::SenseKey::illegal_request, refused));
    EXPECT_EQ(srb.head().SrbStatus, SRB_STATUS_ERROR);
    EXPECT_EQ(block.ScsiStatus, SCSISTAT_CHECK_CONDITION);
}

TEST(SrbAnswer, OtherStatusesKeepTheirMeaning) {
    const auto status_for = [](scsi::Status status) {
        ClassicSrb srb(SRB_FUNCTION_EXECUTE_SCSI);
        scsi::Answer answer;
        answer.status = status;
        apply_answer(srb.view(), answer);
        EXPECT_EQ(srb.srb->ScsiStatus, static_cast<UCHAR>(status));
        return srb.srb->SrbStatus;
    };
    EXPECT_EQ(status_for(scsi::Status::condition_met), SRB_STATUS_SUCCESS);
    EXPECT_EQ(status_for(scsi::Status::reservation_conflict), SRB_STATUS_ERROR);
    EXPECT_EQ(status_for(scsi::Status::task_set_full), SRB_STATUS_ERROR);
    EXPECT_EQ(status_for(scsi::Status::busy), SRB_STATUS_ERROR);
    EXPECT_EQ(status_for(scsi::Status::task_aborted), SRB_STATUS_ABORTED);
}

}  // namespace
}  // namespace wnbd::driver
