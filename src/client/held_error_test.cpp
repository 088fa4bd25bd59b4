// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/held_error.h"

#include <gtest/gtest.h>

namespace wnbd::client {
namespace {

TEST(HeldError, ReturnsEachErrorOnceInOrder) {
    HeldError held;
    EXPECT_FALSE(held.release());
    EXPECT_FALSE(held.hold({"line 1", "text 1"}));
    const LogEntry none{"none", "none"};
    EXPECT_EQ(held.hold({"line 2", "text 2"}).value_or(none).line, "line 1");
    EXPECT_EQ(held.release().value_or(none).text, "text 2");
    EXPECT_FALSE(held.release());
}

}  // namespace
}  // namespace wnbd::client
