// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/help.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace wnbd::client {
namespace {

TEST(Help, ListsEveryCommandInOrder) {
    EXPECT_EQ(help_for_all(OutputFormat::table),
              "wnbd-client commands: \n"
              "\n"
              "version | -v       Show the versions of client, library and driver.\n"
              "help | -h | --help List the commands, or explain one.\n"
              "list | ls          List the mapped disks.\n"
              "show               Show all that is known of a disk.\n"
              "map                Map a disk and serve it until it is removed.\n"
              "serve              Serve disks as an iSCSI target until Ctrl-C.\n"
              "nbd-info           Ask an NBD server what it has to offer.\n"
              "unmap | rm         Remove a disk.\n"
              "resize             Tell Windows that a disk has another size.\n"
              "stats              Show a disk's counters.\n"
              "list-opt           List the driver's options.\n"
              "get-opt            Show a driver option.\n"
              "set-opt            Set a driver option.\n"
              "reset-opt          Set a driver option back to its default.\n"
              "install-driver     Install the driver and its adapter.\n"
              "uninstall-driver   Remove all disks, the adapter and the driver.\n"
              "reset-adapter      Restart the adapter.\n"
              "ping               Check that the driver answers.\n"
              "reload-config      Have the driver read its stored options again.\n"
              "shell              Take commands line by line, even while the system disk hangs.\n"
              "completion         Print a script that completes words with the Tab key.\n");
}

TEST(Help, ExplainsACommandWithoutArgumentsOfItsOwn) {
    EXPECT_EQ(help_for(*find_command("ping"), OutputFormat::table),
              "Usage: wnbd-client ping \n"
              "                        [--debug] [--format <arg>] [--help]\n"
              "\n"
              "Check that the driver answers.\n"
              "\n"
              "Common arguments:\n"
              "  [--debug]         Log more, to the error output.\n"
              "  [--format <arg>]  What is printed, errors included: \"table\" (default) or\n"
              "                    \"json\".\n"
              "  [--help]          Explain this command.\n");
}

TEST(Help, ExplainsPositionalsAndOptionsInOneColumn) {
    EXPECT_EQ(help_for(*find_command("set-opt"), OutputFormat::table),
              "Usage: wnbd-client set-opt <name> <value> \n"
              "                           [--persistent] [--debug] [--format <arg>] [--help]\n"
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
              "  [--format <arg>]  What is printed, errors included: \"table\" (default) or\n"
              "                    \"json\".\n"
              "  [--help]          Explain this command.\n");
}

TEST(Help, LongestLabelWidensTheColumn) {
    const std::string text = help_for(*find_command("unmap"), OutputFormat::table);
    // [--soft-disconnect-retry-interval <arg>] has 40 columns; 2 before it and 1 after.
    EXPECT_NE(
        text.find(
            "\n  [--soft-disconnect-retry-interval <arg>] How long to wait before asking again,\n" +
            std::string(43, ' ') + "in seconds. Default: 2.\n"),
        std::string::npos)
        << text;
}

TEST(Help, AsJsonIsTheCommandTable) {
    const auto all = nlohmann::json::parse(help_for_all(OutputFormat::json));
    ASSERT_EQ(all.size(), commands().size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const CommandSpec& command = commands()[i];
        EXPECT_EQ(all[i]["Names"][0], command.names.front());
        EXPECT_EQ(all[i]["Names"].size(), command.names.size());
        EXPECT_EQ(all[i]["Description"], command.description);
        EXPECT_EQ(all[i]["Positionals"].size(), command.positionals.size());
        EXPECT_EQ(all[i]["Options"].size(), command.options.size() + common_options().size());
        EXPECT_EQ(nlohmann::json::parse(help_for(command, OutputFormat::json)), all[i]);
    }
    const auto unmap = nlohmann::json::parse(help_for(*find_command("rm"), OutputFormat::json));
    EXPECT_EQ(unmap["Names"], (std::vector<std::string>{"unmap", "rm"}));
    EXPECT_EQ(unmap["Positionals"][0]["Name"], "instance-name");
    EXPECT_EQ(unmap["Positionals"][0]["Required"], true);
    EXPECT_EQ(unmap["Options"][0]["Name"], "hard-disconnect");
    EXPECT_EQ(unmap["Options"][0]["TakesValue"], false);
    EXPECT_EQ(unmap["Options"][5]["Values"], (std::vector<std::string>{"table", "json"}));
}

TEST(Help, NoLineIsWiderThanAConsole) {
    for (const CommandSpec& command : commands()) {
        std::istringstream text(help_for(command, OutputFormat::table));
        for (std::string line; std::getline(text, line);)
            EXPECT_LE(line.size(), 80U) << line;
    }
}

}  // namespace
}  // namespace wnbd::client
