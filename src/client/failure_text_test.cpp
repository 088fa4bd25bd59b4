// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/failure_text.h"

#include <gtest/gtest.h>

#include <string>

namespace wnbd::client {
namespace {

TEST(FailureText, SaysWhatFailedWhyAndWhatToDo) {
    EXPECT_EQ(failure_text("Could not list the disks", "The system cannot open the device.\r\n",
                           {.task = Task::other, .code = 110, .adapter_code = 259}),
              "Could not list the disks: The system cannot open the device (error 110). The WNBD "
              "driver is not installed: run `wnbd-client install-driver <wnbd.inf>` as "
              "administrator.");
}

TEST(FailureText, IsOneLineWhateverWindowsSays) {
    const std::string text =
        failure_text("What", "one\r\ntwo.\r\n \r\n", {.task = Task::other, .code = 7});
    EXPECT_EQ(text, "What: one two (error 7).");
    EXPECT_EQ(failure_text("What", "", {.task = Task::other, .code = 7}),
              "What: Unknown error (error 7).");
}

TEST(FailureText, WritesSetupErrorsInHexadecimal) {
    EXPECT_EQ(failure_text("What", "Why.", {.task = Task::other, .code = 0xE0000202}),
              "What: Why (error 0xE0000202).");
}

TEST(FailureText, GivesTheLibrarysDetailUnlessTheAdapterIsMissing) {
    FailureCause cause{.detail = "\"d\": connection refused.\n", .task = Task::other, .code = 7};
    EXPECT_EQ(failure_text("What", "Why.", cause),
              "What: Why (error 7): \"d\": connection refused.");
    cause.adapter_code = 5;
    EXPECT_EQ(failure_text("What", "Why.", cause), "What: Why (error 7). Run it as administrator.");
}

TEST(FailureText, AdviceDependsOnTheTask) {
    const auto text = [](Task task, std::uint32_t code) {
        return std::string(advice({.task = task, .code = code}));
    };
    EXPECT_NE(text(Task::disk, 2).find("wnbd-client list"), std::string::npos);
    EXPECT_NE(text(Task::install, 2).find("INF"), std::string::npos);
    EXPECT_NE(text(Task::option, 2).find("list-opt"), std::string::npos);
    EXPECT_NE(text(Task::map, 183).find("Unmap that disk first"), std::string::npos);
    EXPECT_NE(text(Task::map, 111).find("255"), std::string::npos);
    EXPECT_NE(text(Task::unmap, 1460).find("--hard-disconnect"), std::string::npos);
    EXPECT_NE(text(Task::reset, 170).find("--hard-disconnect-mappings"), std::string::npos);
    EXPECT_EQ(text(Task::other, 5), "Run it as administrator.");
    EXPECT_EQ(text(Task::other, 31), "");
}

TEST(FailureText, AdapterReasonWins) {
    EXPECT_EQ(advice({.task = Task::disk, .code = 110, .adapter_code = 5}),
              "Run it as administrator.");
    EXPECT_NE(advice({.task = Task::disk, .code = 110, .adapter_code = 2}).find("not started"),
              std::string_view::npos);
    EXPECT_NE(
        advice({.task = Task::disk, .code = 110, .adapter_code = 8}).find("driver is installed"),
        std::string_view::npos);
}

}  // namespace
}  // namespace wnbd::client
