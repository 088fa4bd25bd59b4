// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/held_error.h"

#include <gtest/gtest.h>

namespace wnbd::client {
namespace {

TEST(HeldError, ReturnsEachErrorOnceInOrder) {
    HeldError held;
    EXPECT_FALSE(held.release());
    EXPECT_FALSE(held.hold({"line 1", "text 1"}));
    const auto first = held.hold({"line 2", "text 2"});
    ASSERT_TRUE(first);
    EXPECT_EQ(first->line, "line 1");
    const auto second = held.release();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->text, "text 2");
    EXPECT_FALSE(held.release());
}

}  // namespace
}  // namespace wnbd::client
