// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/geometry.h"

#include <gtest/gtest.h>

namespace wnbd::client {
namespace {

TEST(Geometry, WholeBlocksBelowTheLimitAreASize) {
    EXPECT_EQ(size_complaint("size", 512, 512), "");
    EXPECT_EQ(size_complaint("size", 0x7FFFFFFFFFFFF000, 4096), "");
}

TEST(Geometry, NothingPartsOfABlockAndTooMuchAreNot) {
    EXPECT_EQ(size_complaint("--memory", 0, 512),
              "Invalid --memory: 0. A disk has at least one block.");
    EXPECT_EQ(size_complaint("size", 512, 4096),
              "Invalid size: 512 is not a multiple of the block size, 4096.");
    EXPECT_EQ(size_complaint("size", 0x8000000000000000, 512),
              "Invalid size: 9223372036854775808. It must be below 2^63 bytes.");
}

TEST(Geometry, BlocksHave512Or4096Bytes) {
    EXPECT_EQ(block_size_complaint(512), "");
    EXPECT_EQ(block_size_complaint(4096), "");
    EXPECT_EQ(block_size_complaint(0), "Invalid --block-size: 0. It must be 512 or 4096.");
    EXPECT_EQ(block_size_complaint((std::uint64_t{1} << 32) + 512),
              "Invalid --block-size: 4294967808. It must be 512 or 4096.");
}

TEST(Geometry, PhysicalBlocksAreBlocksTimesAPowerOfTwo) {
    EXPECT_EQ(physical_block_exponent(0, 512).value(), 0);
    EXPECT_EQ(physical_block_exponent(4096, 512).value(), 3);
    EXPECT_EQ(physical_block_exponent(65536, 4096).value(), 4);
    for (const std::uint64_t wrong :
         {std::uint64_t{256}, std::uint64_t{1000}, std::uint64_t{131072}, ~std::uint64_t{0}})
        EXPECT_FALSE(physical_block_exponent(wrong, 512).ok()) << wrong;
}

}  // namespace
}  // namespace wnbd::client
