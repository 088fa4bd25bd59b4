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

}  // namespace
}  // namespace wnbd::client
