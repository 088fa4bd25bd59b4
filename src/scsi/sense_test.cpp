// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/sense.h"

#include <gtest/gtest.h>

#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

TEST(Sense, FixedFormatPutsEveryFieldInItsPlace) {
    Sense sense(SenseKey::miscompare, AdditionalSense::miscompare_during_verify);
    sense.information_valid = true;
    sense.information = 0x01020304;
    Bytes room(fixed_sense_length, 0xEE);
    EXPECT_EQ(encode_fixed_sense(sense, room), fixed_sense_length);
    EXPECT_EQ(room, (Bytes{0xF0, 0, 0x0E, 1, 2, 3, 4, 10, 0, 0, 0, 0, 0x1D, 0, 0, 0, 0, 0}));
}

TEST(Sense, FixedFormatLeavesOutAnInformationThatDoesNotFit) {
    Sense sense(SenseKey::medium_error, AdditionalSense::unrecovered_read_error);
    sense.information_valid = true;
    sense.information = 0x100000000;
    Bytes room(fixed_sense_length, 0xEE);
    encode_fixed_sense(sense, room);
    EXPECT_EQ(room, (Bytes{0x70, 0, 0x03, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0}));
}

TEST(Sense, DescriptorFormatHoldsSixtyFourBitsOfInformation) {
    Sense sense(SenseKey::medium_error, AdditionalSense::unrecovered_read_error);
    sense.information_valid = true;
    sense.information = 0x0102030405060708;
    Bytes room(32, 0xEE);
    ASSERT_EQ(encode_descriptor_sense(sense, room), 20U);
    room.resize(20);
    EXPECT_EQ(room, (Bytes{0x72, 0x03, 0x11, 0, 0, 0, 0, 12,  //
                           0x00, 0x0A, 0x80, 0, 1, 2, 3, 4,  5, 6, 7, 8}));
}

TEST(Sense, NamesTheByteOfTheCdbThatIsWrong) {
    Sense sense(SenseKey::illegal_request, AdditionalSense::invalid_field_in_cdb);
    sense.cdb_field = 2;
    Bytes fixed(fixed_sense_length, 0xEE);
    encode_fixed_sense(sense, fixed);
    EXPECT_EQ(fixed, (Bytes{0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xC0, 0, 2}));
    Bytes descriptor(32, 0xEE);
    ASSERT_EQ(encode_descriptor_sense(sense, descriptor), 16U);
    descriptor.resize(16);
    EXPECT_EQ(descriptor, (Bytes{0x72, 0x05, 0x24, 0, 0, 0, 0, 8, 0x02, 6, 0, 0, 0xC0, 0, 2, 0}));
}

TEST(Sense, DescriptorFormatWithoutInformationIsEightBytes) {
    Bytes room(32, 0xEE);
    ASSERT_EQ(
        encode_descriptor_sense(
            Sense(SenseKey::unit_attention, AdditionalSense::capacity_data_has_changed), room),
        8U);
    room.resize(8);
    EXPECT_EQ(room, (Bytes{0x72, 0x06, 0x2A, 0x09, 0, 0, 0, 0}));
}

TEST(Sense, BothFormatsTruncateToEveryRoom) {
    Sense sense(SenseKey::illegal_request, AdditionalSense::invalid_field_in_cdb);
    sense.information_valid = true;
    sense.information = 7;
    Bytes fixed(32);
    Bytes descriptor(32);
    fixed.resize(encode_fixed_sense(sense, fixed));
    descriptor.resize(encode_descriptor_sense(sense, descriptor));
    for (std::size_t length = 0; length <= 20; ++length) {
        Bytes room(length);
        EXPECT_EQ(encode_fixed_sense(sense, room), std::min(length, fixed.size()));
        EXPECT_TRUE(std::equal(room.begin(),
                               room.begin() + static_cast<long>(std::min(length, fixed.size())),
                               fixed.begin()));
        EXPECT_EQ(encode_descriptor_sense(sense, room), std::min(length, descriptor.size()));
        EXPECT_TRUE(std::equal(
            room.begin(), room.begin() + static_cast<long>(std::min(length, descriptor.size())),
            descriptor.begin()));
    }
}

}  // namespace
}  // namespace wnbd::scsi
