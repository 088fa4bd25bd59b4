// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/help.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace wnbd::client {
namespace {

TEST(Help, ListsEveryCommandInOrder) {
    EXPECT_EQ(help_for_all(),
              "wnbd-client commands: \n"
              "\n"
              "version | -v       Show the versions of client, library and driver.\n"
              "help | -h | --help List the commands, or explain one.\n"
              "list | ls          List the mapped disks.\n"
              "show               Show all that is known of a disk.\n"
              "map                Map a disk and serve it until it is removed.\n"
              "unmap | rm         Remove a disk.\n"
              "stats              Show a disk's counters.\n"
              "list-opt           List the driver's options.\n"
              "get-opt            Show a driver option.\n"
              "set-opt            Set a driver option.\n"
              "reset-opt          Set a driver option back to its default.\n"
              "install-driver     Install the driver and its adapter.\n"
              "uninstall-driver   Remove all disks, the adapter and the driver.\n"
              "reset-adapter      Restart the adapter.\n"
              "ping               Check that the driver answers.\n"
              "reload-config      Have the driver read its stored options again.\n");
}

TEST(Help, ExplainsACommandWithoutArgumentsOfItsOwn) {
    EXPECT_EQ(help_for(*find_command("ping")),
              "Usage: wnbd-client ping \n"
              "                        [--debug] [--help]\n"
              "\n"
              "Check that the driver answers.\n"
              "\n"
              "Common arguments:\n"
              "  [--debug]         Log more, to the error output.\n"
              "  [--help]          Explain this command.\n");
}

TEST(Help, ExplainsPositionalsAndOptionsInOneColumn) {
    EXPECT_EQ(help_for(*find_command("set-opt")),
              "Usage: wnbd-client set-opt <name> <value> \n"
              "                           [--persistent] [--debug] [--help]\n"
              "\n"
              "Set a driver option.\n"
              "\n"
              "Positional arguments:\n"
              "  name              The driver option's name.\n"
              "  value             The new value.\n"
              "\n"
              "Optional arguments:\n"
              "  [--persistent]    Act on the value that is stored and used again when the\n"
              "                    driver is loaded.\n"
              "\n"
              "Common arguments:\n"
              "  [--debug]         Log more, to the error output.\n"
              "  [--help]          Explain this command.\n");
}

TEST(Help, LongestLabelWidensTheColumn) {
    const std::string text = help_for(*find_command("unmap"));
    // [--soft-disconnect-retry-interval <arg>] has 40 columns; 2 before it and 1 after.
    EXPECT_NE(
        text.find(
            "\n  [--soft-disconnect-retry-interval <arg>] How long to wait before asking again,\n" +
            std::string(43, ' ') + "in seconds. Default: 2.\n"),
        std::string::npos)
        << text;
}

TEST(Help, NoLineIsWiderThanAConsole) {
    for (const CommandSpec& command : commands()) {
        std::istringstream text(help_for(command));
        for (std::string line; std::getline(text, line);)
            EXPECT_LE(line.size(), 80U) << line;
    }
}

}  // namespace
}  // namespace wnbd::client
