// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/option_range.h"

#include <gtest/gtest.h>

namespace wnbd::client {
namespace {

TEST(OptionRange, EachKindOfOptionNamesWhatItTakes) {
    EXPECT_EQ(option_range_text("LogLevel"), "LogLevel takes a number from 0 to 4");
    EXPECT_EQ(option_range_text("MaxIOReqPerAdapter"),
              "MaxIOReqPerAdapter takes a number from 1 to 131072");
    EXPECT_EQ(option_range_text("MaxIOReqPerLun"), "MaxIOReqPerLun takes a number from 1 to 1024");
    EXPECT_EQ(option_range_text("EtwLoggingEnabled"),
              "EtwLoggingEnabled takes true or false (or 1, t, yes, y; 0, f, no, n)");
    EXPECT_EQ(option_range_text("StaleConnTimeoutMs"),
              "StaleConnTimeoutMs takes milliseconds from 1 to 922337203685477, or 0 for the "
              "default, 60000");
}

TEST(OptionRange, NamesAreFoundAsTheDriverFindsThem) {
    EXPECT_EQ(option_range_text("loglevel"), "LogLevel takes a number from 0 to 4");
    for (const char* const name : {"", "LogLeve", "LogLevel2", "Log Level"})
        EXPECT_EQ(option_range_text(name), "");
}

TEST(OptionRange, AnUnknownOptionIsToldFromOneThatIsNotStored) {
    EXPECT_EQ(option_absence_text("LogLeve", true), "there is no such option");
    EXPECT_EQ(option_absence_text("loglevel", true), "no value of LogLevel is stored");
    EXPECT_EQ(option_absence_text("LogLevel", false), "");
}

}  // namespace
}  // namespace wnbd::client
