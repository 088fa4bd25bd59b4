// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/lba_status.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/big_endian.h"

namespace wnbd::scsi {
namespace {

struct Descriptor {
    std::uint64_t lba;
    std::uint32_t blocks;
    int provisioning;

    bool operator==(const Descriptor&) const = default;
};

/// What an initiator reads from the bytes.
std::vector<Descriptor> runs_of(const std::vector<std::uint8_t>& data) {
    std::vector<Descriptor> runs;
    for (std::size_t at = 8; at + 16 <= data.size(); at += 16)
        runs.push_back({load_big_endian<std::uint64_t>(&data[at]),
                        load_big_endian<std::uint32_t>(&data[at + 8]), data[at + 12]});
    return runs;
}

std::vector<std::uint8_t> finished(LbaStatus& status, std::vector<std::uint8_t>& room) {
    const std::size_t length = status.finish();
    return {room.begin(), room.begin() + static_cast<std::ptrdiff_t>(length)};
}

TEST(LbaStatus, RunsOfOneKindAreOneDescriptor) {
    std::vector<std::uint8_t> room(1024, 0xEE);
    LbaStatus status(room, 5, 1000);
    EXPECT_EQ(status.descriptors_max(), 63U);
    status.add(8, true);
    status.add(10, true);
    status.add(20, false);
    status.add(20, true);  // of no blocks
    EXPECT_EQ(status.next(), 20U);
    status.add(30, true);
    EXPECT_FALSE(status.complete());
    status.add(5000, false);
    EXPECT_TRUE(status.complete());
    const auto data = finished(status, room);
    ASSERT_EQ(data.size(), 8 + 4 * 16U);
    EXPECT_EQ(load_big_endian<std::uint32_t>(data.data()), 4 + 4 * 16U);
    EXPECT_EQ(load_big_endian<std::uint32_t>(&data[4]), 0U);
    EXPECT_EQ(runs_of(data),
              (std::vector<Descriptor>{{5, 5, 0}, {10, 10, 1}, {20, 10, 0}, {30, 970, 1}}));
}

TEST(LbaStatus, TheLastDescriptorThereIsRoomForGrowsToItsEnd) {
    std::vector<std::uint8_t> room(8 + 2 * 16 + 3, 0xEE);
    LbaStatus status(room, 0, 1000);
    EXPECT_EQ(status.descriptors_max(), 2U);
    status.add(10, true);
    status.add(20, false);
    EXPECT_FALSE(status.complete()) << "more of the kind may follow";
    status.add(40, false);
    status.add(50, true);
    EXPECT_TRUE(status.complete());
    EXPECT_EQ(status.next(), 40U);
    const auto data = finished(status, room);
    EXPECT_EQ(data.size(), 8 + 2 * 16U);
    EXPECT_EQ(runs_of(data), (std::vector<Descriptor>{{0, 10, 0}, {10, 30, 1}}));
}

TEST(LbaStatus, LessRoomThanADescriptorCutsIt) {
    for (const std::size_t length : {1U, 4U, 8U, 12U, 23U, 24U}) {
        std::vector<std::uint8_t> room(length, 0xEE);
        LbaStatus status(room, 3, 9);
        status.add(9, false);
        const auto data = finished(status, room);
        EXPECT_EQ(data.size(), length);
        if (length >= 4) {
            EXPECT_EQ(load_big_endian<std::uint32_t>(data.data()), 20U);
        }
        if (length >= 21) {
            EXPECT_EQ(data[20], 1);
        }
    }
}

TEST(LbaStatus, ADescriptorCountsThirtyTwoBitsOfBlocks) {
    constexpr std::uint64_t end = (std::uint64_t{1} << 33) + 5;
    std::vector<std::uint8_t> room(8 + 3 * 16);
    LbaStatus status(room, 0, end);
    status.add(end, false);
    EXPECT_TRUE(status.complete());
    EXPECT_EQ(runs_of(finished(status, room)),
              (std::vector<Descriptor>{
                  {0, 0xFFFFFFFF, 1}, {0xFFFFFFFF, 0xFFFFFFFF, 1}, {0x1FFFFFFFE, 7, 1}}));
}

}  // namespace
}  // namespace wnbd::scsi
