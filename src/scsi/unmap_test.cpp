// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include "scsi/test_cdb.h"

namespace wnbd::scsi {
namespace {

TEST(Unmap, ListLengthsDecideWhatIsRead) {
    Disk disk;
    disk.unmap_supported = true;
    const auto asks = [&disk](Bytes list, std::size_t cdb_length) {
        const Bytes cdb = unmap_cdb(cdb_length);
        return outcome(decode(disk, 1000, Command{cdb, list, list.size()}));
    };
    const Bytes two = unmap_list({{0, 1}, {999, 1}});
    EXPECT_EQ(asks(two, two.size()), is_block_request);
    EXPECT_EQ(asks({}, 0), is_good);
    for (std::size_t length = 1; length < 8; ++length) {
        EXPECT_EQ(asks(two, length), is_list_length_error);
    }
    EXPECT_EQ(asks(two, two.size() + 1), is_invalid_field);  // no such buffer
    EXPECT_EQ(asks(two, 8), is_good);
    for (std::size_t length = 8; length < 24; ++length)
        EXPECT_EQ(asks(two, length), is_good);
    // The second descriptor is out of range, but cut short by the CDB, so it is ignored.
    const Bytes beyond = unmap_list({{0, 1}, {1000, 1}});
    EXPECT_EQ(asks(beyond, beyond.size()), is_out_of_range);
    for (std::size_t length = 24; length < 40; ++length) {
        EXPECT_EQ(asks(beyond, length), is_block_request);
    }
    Bytes partial = two;
    for (std::uint16_t described = 0; described < 16; ++described) {
        store_big_endian(&partial[2], described);
        EXPECT_EQ(asks(partial, partial.size()), is_good);
    }
    store_big_endian<std::uint16_t>(&partial[2], 0xFFFF);
    EXPECT_EQ(asks(partial, partial.size()), is_block_request);
}

TEST(Unmap, RangesAreCheckedIn64Bits) {
    Disk disk;
    disk.unmap_supported = true;
    const std::uint64_t capacity = 1ULL << 40;
    const auto asks = [&](const std::vector<Range>& ranges) {
        Bytes list = unmap_list(ranges);
        const Bytes cdb = unmap_cdb(list.size());
        return outcome(decode(disk, capacity, Command{cdb, list, list.size()}));
    };
    EXPECT_EQ(asks({{0, 0xFFFFFFFF}}), is_block_request);
    EXPECT_EQ(asks({{capacity - 1, 1}}), is_block_request);
    EXPECT_EQ(asks({{capacity, 0}}), is_good);
    EXPECT_EQ(asks({{capacity - 1, 2}}), is_out_of_range);
    EXPECT_EQ(asks({{capacity + 1, 0}}), is_out_of_range);
    EXPECT_EQ(asks({{~0ULL, 1}}), is_out_of_range);
    EXPECT_EQ(asks({{~0ULL, 0xFFFFFFFF}}), is_out_of_range);
    EXPECT_EQ(asks({{0, 1}, {5, 5}, {~0ULL, 2}}), is_out_of_range);
    EXPECT_EQ(asks({{0, 0}, {5, 0}}), is_good);
}

TEST(Unmap, MoreDescriptorsThanReportedAreRefused) {
    Disk disk;
    disk.unmap_supported = true;
    for (const std::size_t count : {256UL, 257UL}) {
        Bytes list = unmap_list(std::vector<Range>(count, Range{1, 1}));
        const Bytes cdb = unmap_cdb(list.size());
        EXPECT_EQ(outcome(decode(disk, 1000, Command{cdb, list, list.size()})),
                  count == 256 ? is_block_request : is_invalid_list);
    }
}

TEST(Unmap, AnchorIsRefused) {
    Disk disk;
    disk.unmap_supported = true;
    EXPECT_EQ(ask(disk, 1000, unmap_cdb(24, 0x01), 24).result, is_invalid_field);
}

}  // namespace
}  // namespace wnbd::scsi
