// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/help.h"

#include "client/commands/commands.h"
#include "client/output.h"

namespace wnbd::client {

DWORD run_help(const Arguments& arguments) {
    if (!arguments.has("command-name")) return print(help_for_all(arguments.format()));
    const std::string name = arguments.text("command-name");
    const CommandSpec* const command = find_command(name);
    if (command == nullptr) {
        return report_unknown_command(name, {});
    }
    return print(help_for(*command, arguments.format()));
}

}  // namespace wnbd::client
