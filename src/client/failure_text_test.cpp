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
    EXPECT_EQ(failure_text("What", "Why.", cause), "What: Why (error 7): connection refused.");
    cause.adapter_code = 5;
    EXPECT_EQ(failure_text("What", "Why.", cause).find("refused"), std::string::npos);
}

TEST(FailureText, SaysThatAdministratorRightsAreMissing) {
    EXPECT_EQ(failure_text("Could not list the disks", "Open failed.",
                           {.task = Task::other, .code = 110, .adapter_code = 5}),
              "Could not list the disks: Open failed (error 110): only administrators may use the "
              "WNBD adapter. Run it from an elevated prompt (\"Run as administrator\").");
    EXPECT_EQ(failure_text("Could not reset the adapter", "Access denied.",
                           {.task = Task::other, .code = 5, .adapter_code = 5}),
              "Could not reset the adapter: Access denied (error 5): only administrators may use "
              "the WNBD adapter. Run it from an elevated prompt (\"Run as administrator\").");
    EXPECT_EQ(failure_text("Could not install the driver", "Access denied.",
                           {.task = Task::install, .code = 5}),
              "Could not install the driver: Access denied (error 5). Run it from an elevated "
              "prompt (\"Run as administrator\").");
}

TEST(FailureText, SaysNothingTwice) {
    EXPECT_EQ(
        failure_text("What", "Why.",
                     {.detail = "could not map \"e\": 7 (Why.)", .task = Task::other, .code = 7}),
        "What: Why (error 7).");
    EXPECT_EQ(
        failure_text("What", "Why.",
                     {.detail = "could not map \"e\": 8 (No.)", .task = Task::other, .code = 7}),
        "What: Why (error 7): could not map \"e\": 8 (No.).");
}

TEST(FailureText, AsJsonHasAPlaceForEachPart) {
    EXPECT_EQ(json_line(failure_record("Could not show the disk 'd'", "File not found.\r\n",
                                       {.task = Task::disk, .code = 2})),
              R"({"Error":"Could not show the disk 'd'","Reason":"File not found","Code":2,)"
              R"("Details":null,"Advice":"`wnbd-client list` shows the disks there are."})");
    EXPECT_EQ(json_line(failure_record("What", "",
                                       {.detail = "line\none.", .task = Task::other, .code = 31})),
              R"({"Error":"What","Reason":"Unknown error","Code":31,"Details":"line one",)"
              R"("Advice":null})");
    EXPECT_EQ(json_line(refusal_record("too many arguments", 87, {})),
              R"({"Error":"too many arguments","Reason":null,"Code":87,"Details":null,)"
              R"("Advice":null})");
}

TEST(FailureText, AdviceDependsOnTheTask) {
    const auto text = [](Task task, std::uint32_t code) {
        return std::string(advice({.task = task, .code = code}));
    };
    EXPECT_NE(text(Task::disk, 2).find("wnbd-client list"), std::string::npos);
    EXPECT_NE(text(Task::install, 2).find("INF"), std::string::npos);
    EXPECT_NE(text(Task::install, 4319).find("testsigning"), std::string::npos);
    EXPECT_NE(text(Task::install, 0x800B0109).find("TrustedPublisher"), std::string::npos);
    EXPECT_NE(text(Task::install, 0xE000024B).find("of one package"), std::string::npos);
    EXPECT_NE(text(Task::uninstall, 170).find("Another installation"), std::string::npos);
    EXPECT_NE(text(Task::option, 2).find("list-opt"), std::string::npos);
    EXPECT_NE(text(Task::map, 183).find("Unmap that disk first"), std::string::npos);
    EXPECT_NE(text(Task::map, 111).find("255"), std::string::npos);
    EXPECT_NE(text(Task::unmap, 1460).find("--hard-disconnect"), std::string::npos);
    EXPECT_NE(text(Task::reset, 170).find("--hard-disconnect-mappings"), std::string::npos);
    EXPECT_NE(text(Task::other, 5).find("elevated"), std::string::npos);
    EXPECT_EQ(text(Task::other, 31), "");
}

TEST(FailureText, AdapterReasonWins) {
    EXPECT_NE(
        advice({.task = Task::disk, .code = 110, .adapter_code = 5}).find("Run as administrator"),
        std::string_view::npos);
    EXPECT_NE(advice({.task = Task::disk, .code = 110, .adapter_code = 2}).find("not started"),
              std::string_view::npos);
    EXPECT_NE(
        advice({.task = Task::disk, .code = 110, .adapter_code = 8}).find("driver is installed"),
        std::string_view::npos);
}

}  // namespace
}  // namespace wnbd::client
