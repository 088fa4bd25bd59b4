// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd-client.exe: finds the command, reads its arguments, runs it.
#include <windows.h>

#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "client/arguments.h"
#include "client/command_table.h"
#include "client/commands/commands.h"
#include "client/help.h"
#include "client/library_log.h"
#include "client/system.h"

namespace wnbd::client {
namespace {

using Command = DWORD (*)(const Arguments&);

constexpr std::pair<std::string_view, Command> command_functions[] = {
    {"version", run_version},
    {"help", run_help},
    {"list", run_list},
    {"show", run_show},
    {"map", run_map},
    {"unmap", run_unmap},
    {"stats", run_stats},
    {"list-opt", run_list_opt},
    {"get-opt", run_get_opt},
    {"set-opt", run_set_opt},
    {"reset-opt", run_reset_opt},
    {"install-driver", run_install_driver},
    {"uninstall-driver", run_uninstall_driver},
    {"reset-adapter", run_reset_adapter},
    {"ping", run_ping},
    {"reload-config", run_reload_config},
};

DWORD run(std::span<const std::string> words) {
    const std::string name = words.empty() ? "help" : words.front();
    const CommandSpec* const command = find_command(name);
    if (command == nullptr) {
        print_error("Unknown command: " + name + "\n\nSee wnbd-client --help.");
        return ERROR_INVALID_PARAMETER;
    }
    const auto arguments = parse_arguments(*command, words.subspan(words.empty() ? 0 : 1));
    if (!arguments) {
        print_complaint(arguments.error().text);
        return ERROR_INVALID_PARAMETER;
    }
    if (arguments.value().has("help")) return print(help_for(*command));
    use_library_log(arguments.value().has("debug") ? LogUse::debug : LogUse::detail);
    for (const auto& [command_name, function] : command_functions) {
        if (command_name == command->names.front()) return function(arguments.value());
    }
    return ERROR_INTERNAL_ERROR;
}

}  // namespace
}  // namespace wnbd::client

int main() {
    using namespace wnbd::client;
    try {
        const Utf8Console console;
        return static_cast<int>(run(command_line_words()));
    } catch (const std::exception& exception) {
        std::fprintf(stderr, "wnbd-client: Caught unexpected exception.\n\n%s\n", exception.what());
    } catch (...) {
        std::fprintf(stderr,
                     "wnbd-client: Caught unexpected exception.\n\nNo details are known.\n");
    }
    return ERROR_INTERNAL_ERROR;
}
