// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/pdu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <utility>
#include <vector>

namespace wnbd::iscsi {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// A header of zeros but for some bytes.
HeaderBytes bytes(std::initializer_list<std::pair<std::size_t, Bytes>> fields) {
    HeaderBytes header{};
    for (const auto& [at, values] : fields)
        std::copy(values.begin(), values.end(), header.begin() + static_cast<std::ptrdiff_t>(at));
    return header;
}

/// Byte n holds n, so that each field shows where it was read.
HeaderBytes rising() {
    HeaderBytes header;
    std::iota(header.begin(), header.end(), std::uint8_t{0});
    return header;
}

const Numbers numbers{
    .status_sn = 0x0102'0304, .expected_command_sn = 0x0506'0708, .max_command_sn = 0x090A'0B0C};
const Bytes number_bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

TEST(Pdu, CommonFieldsLieWhereTheStandardPutsThem) {
    auto header = rising();
    header[0] = 0x41;
    header[1] = 0x80;
    EXPECT_EQ(opcode_of(header), 1);
    EXPECT_TRUE(is_immediate(header));
    EXPECT_TRUE(is_final(header));
    EXPECT_EQ(additional_length(header), 16U);
    EXPECT_EQ(data_length(header), 0x05'0607U);
    EXPECT_EQ(initiator_task_tag(header), 0x1011'1213U);
    header[0] = 0xBF;  // the top bit is reserved
    header[1] = 0x7F;
    EXPECT_EQ(opcode_of(header), 0x3F);
    EXPECT_FALSE(is_immediate(header));
    EXPECT_FALSE(is_final(header));
}

TEST(Pdu, PaddingIsToAMultipleOfFour) {
    EXPECT_EQ(padded(0), 0U);
    EXPECT_EQ(padded(1), 4U);
    EXPECT_EQ(padded(4), 4U);
    EXPECT_EQ(padded(largest_segment_length), 0x100'0000U);
}

TEST(Pdu, ReadsAScsiCommand) {
    auto header = rising();
    header[1] = 0xC5;
    const auto command = read_scsi_command(header);
    EXPECT_TRUE(command.final);
    EXPECT_TRUE(command.read);
    EXPECT_FALSE(command.write);
    EXPECT_EQ(command.attribute, 5);
    EXPECT_EQ(command.lun, 0x0809'0A0B'0C0D'0E0FU);
    EXPECT_EQ(command.expected_length, 0x1415'1617U);
    EXPECT_EQ(command.sequence.task_tag, 0x1011'1213U);
    EXPECT_EQ(command.sequence.command_sn, 0x1819'1A1BU);
    EXPECT_EQ(command.sequence.expected_status_sn, 0x1C1D'1E1FU);
    EXPECT_EQ(command.cdb.front(), 0x20);
    EXPECT_EQ(command.cdb.back(), 0x2F);
    header[1] = 0x20;
    EXPECT_TRUE(read_scsi_command(header).write);
    EXPECT_FALSE(read_scsi_command(header).final);
}

TEST(Pdu, ReadsTheOtherRequests) {
    auto header = rising();
    header[1] = 0x85;
    const auto management = read_task_management(header);
    EXPECT_EQ(management.function, 5);
    EXPECT_EQ(management.lun, 0x0809'0A0B'0C0D'0E0FU);
    EXPECT_EQ(management.referenced_tag, 0x1415'1617U);
    EXPECT_EQ(management.reference_command_sn, 0x2021'2223U);

    const auto data = read_data_out(header);
    EXPECT_TRUE(data.final);
    EXPECT_EQ(data.task_tag, 0x1011'1213U);
    EXPECT_EQ(data.target_tag, 0x1415'1617U);
    EXPECT_EQ(data.expected_status_sn, 0x1C1D'1E1FU);
    EXPECT_EQ(data.data_sn, 0x2425'2627U);
    EXPECT_EQ(data.offset, 0x2829'2A2BU);

    EXPECT_EQ(read_logout(header).reason, 5);
    EXPECT_EQ(read_logout(header).connection_id, 0x1415);
    EXPECT_EQ(read_nop_out(header).target_tag, 0x1415'1617U);
    EXPECT_EQ(read_nop_out(header).lun, 0x0809'0A0B'0C0D'0E0FU);

    header[1] = 0x40;
    const auto text = read_text(header);
    EXPECT_FALSE(text.final);
    EXPECT_TRUE(text.continues);
    EXPECT_EQ(text.target_tag, 0x1415'1617U);
}

TEST(Pdu, ReadsALogin) {
    auto header = rising();
    header[1] = 0x87;
    const auto login = read_login(header);
    EXPECT_TRUE(login.transit);
    EXPECT_FALSE(login.continues);
    EXPECT_EQ(login.current_stage, 1);
    EXPECT_EQ(login.next_stage, 3);
    EXPECT_EQ(login.version_max, 2);
    EXPECT_EQ(login.version_min, 3);
    EXPECT_EQ(login.isid, (std::array<std::uint8_t, 6>{8, 9, 10, 11, 12, 13}));
    EXPECT_EQ(login.tsih, 0x0E0F);
    EXPECT_EQ(login.connection_id, 0x1415);
}

TEST(Pdu, WritesAScsiResponse) {
    EXPECT_EQ(encode(ScsiResponse{.numbers = numbers,
                                  .task_tag = 0x1112'1314,
                                  .result = CommandResult::target_failure,
                                  .status = 2,
                                  .residual = Residual::underflow,
                                  .residual_count = 0x2122'2324,
                                  .expected_data_sn = 7,
                                  .data_length = 0x01'0203}),
              bytes({{0, {0x21, 0x82, 1, 2, 0, 1, 2, 3}},
                     {16, {0x11, 0x12, 0x13, 0x14}},
                     {24, number_bytes},
                     {39, {7}},
                     {44, {0x21, 0x22, 0x23, 0x24}}}));
    EXPECT_EQ(encode(ScsiResponse{.residual = Residual::overflow})[1], 0x84);
    EXPECT_EQ(encode(ScsiResponse{})[1], 0x80);
}

TEST(Pdu, DataInCarriesAStatusOnlyWhenItHasOne) {
    DataIn data{.numbers = numbers,
                .lun = 0x0001'0000'0000'0000,
                .task_tag = 5,
                .final = true,
                .has_status = true,
                .status = 0x28,
                .residual = Residual::underflow,
                .residual_count = 9,
                .data_sn = 2,
                .offset = 0x1000,
                .data_length = 4};
    const Bytes ones(4, 0xFF);
    EXPECT_EQ(encode(data), bytes({{0, {0x25, 0x83, 0, 0x28, 0, 0, 0, 4, 0, 1}},
                                   {19, {5}},
                                   {20, ones},
                                   {24, number_bytes},
                                   {39, {2}},
                                   {42, {0x10}},
                                   {47, {9}}}));
    data.has_status = false;
    data.final = false;
    EXPECT_EQ(encode(data), bytes({{0, {0x25, 0, 0, 0, 0, 0, 0, 4, 0, 1}},
                                   {19, {5}},
                                   {20, ones},
                                   {28, {5, 6, 7, 8, 9, 10, 11, 12}},
                                   {39, {2}},
                                   {42, {0x10}}}));
}

TEST(Pdu, WritesTheOtherResponses) {
    const Bytes ones(4, 0xFF);
    EXPECT_EQ(encode(ReadyToTransfer{.numbers = numbers,
                                     .lun = 1,
                                     .task_tag = 2,
                                     .target_tag = 3,
                                     .sequence = 4,
                                     .offset = 5,
                                     .length = 6}),
              bytes({{0, {0x31, 0x80}},
                     {15, {1}},
                     {19, {2}},
                     {23, {3}},
                     {24, number_bytes},
                     {39, {4}},
                     {43, {5}},
                     {47, {6}}}));
    EXPECT_EQ(encode(TaskManagementResponse{
                  .numbers = numbers, .task_tag = 2, .response = TaskResponse::rejected}),
              bytes({{0, {0x22, 0x80, 0xFF}}, {19, {2}}, {24, number_bytes}}));
    EXPECT_EQ(
        encode(AsyncMessage{.numbers = numbers,
                            .event = AsyncEvent::logout_requested,
                            .parameters = {1, 2, 0x0304}}),
        bytes({{0, {0x32, 0x80}}, {16, ones}, {24, number_bytes}, {36, {1, 0, 0, 1, 0, 2, 3, 4}}}));
    EXPECT_EQ(
        encode(TextResponse{.numbers = numbers,
                            .task_tag = 2,
                            .target_tag = 3,
                            .final = false,
                            .continues = true,
                            .data_length = 8}),
        bytes({{0, {0x24, 0x40, 0, 0, 0, 0, 0, 8}}, {19, {2}}, {23, {3}}, {24, number_bytes}}));
    EXPECT_EQ(encode(LogoutResponse{.numbers = numbers,
                                    .task_tag = 2,
                                    .result = LogoutResult::no_connection,
                                    .time_to_wait = 3,
                                    .time_to_retain = 4}),
              bytes({{0, {0x26, 0x80, 1}}, {19, {2}}, {24, number_bytes}, {40, {0, 3, 0, 4}}}));
    EXPECT_EQ(encode(Reject{.numbers = numbers, .reason = RejectReason::invalid_pdu_field}),
              bytes({{0, {0x3F, 0x80, 9, 0, 0, 0, 0, 48}}, {16, ones}, {24, number_bytes}}));
    EXPECT_EQ(encode(NopIn{.numbers = numbers, .lun = 1, .target_tag = 3, .data_length = 12}),
              bytes({{0, {0x20, 0x80, 0, 0, 0, 0, 0, 12}},
                     {15, {1}},
                     {16, ones},
                     {23, {3}},
                     {24, number_bytes}}));
}

TEST(Pdu, WritesALoginResponse) {
    LoginResponse response{.numbers = numbers,
                           .task_tag = 2,
                           .transit = true,
                           .current_stage = 1,
                           .next_stage = 3,
                           .isid = {1, 2, 3, 4, 5, 6},
                           .tsih = 0x0708,
                           .status = LoginStatus::target_not_found,
                           .data_length = 9};
    EXPECT_EQ(encode(response), bytes({{0, {0x23, 0x87, 0, 0, 0, 0, 0, 9}},
                                       {8, {1, 2, 3, 4, 5, 6, 7, 8}},
                                       {19, {2}},
                                       {24, number_bytes},
                                       {36, {2, 3}}}));
    response.transit = false;  // the next stage means nothing then
    response.continues = true;
    EXPECT_EQ(encode(response)[1], 0x44);
}

TEST(Pdu, AdditionalSegmentsHoldALongCdbAndAReadLength) {
    const Bytes segments{0,  17, 1,  0,  16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                         26, 27, 28, 29, 30, 31, 0,  5,  2,  0,  0,  1,  0,  0};
    const auto additional = read_additional(segments);
    ASSERT_TRUE(additional.valid);
    ASSERT_EQ(additional.cdb_rest.size(), 16U);
    EXPECT_EQ(additional.cdb_rest.front(), 16);
    EXPECT_EQ(additional.cdb_rest.back(), 31);
    EXPECT_EQ(additional.read_length, 0x1'0000U);
    EXPECT_TRUE(read_additional({}).valid);
    EXPECT_TRUE(read_additional({}).cdb_rest.empty());
}

TEST(Pdu, AdditionalSegmentsThatCannotBeAreInvalid) {
    const std::vector<Bytes> wrong{{0, 5},                          // cut off in its own header
                                   {0, 5, 2, 0},                    // and in its body
                                   {0, 4, 2, 0, 0, 0, 0, 0},        // a read length of three bytes
                                   {0, 0, 1, 0},                    // a long CDB of nothing
                                   {0, 1, 1, 0},                    // of its reserved byte alone
                                   {0, 5, 3, 0, 0, 0, 0, 0},        // an unknown kind
                                   {0xFF, 0xFF, 1, 0, 0, 0, 0, 0},  // far too long
                                   {0, 5, 2, 0, 0, 0, 0, 1, 0, 5, 2, 0, 0, 0, 0, 1},   // twice
                                   {0, 2, 1, 0, 7, 0, 0, 0, 0, 2, 1, 0, 7, 0, 0, 0}};  // likewise
    for (const auto& segments : wrong) {
        const auto additional = read_additional(segments);
        EXPECT_FALSE(additional.valid) << testing::PrintToString(segments);
        EXPECT_TRUE(additional.cdb_rest.empty());
    }
}

}  // namespace
}  // namespace wnbd::iscsi
