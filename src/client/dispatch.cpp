// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/dispatch.h"

#include <exception>
#include <string_view>
#include <utility>

#include "client/command_table.h"
#include "client/commands/commands.h"
#include "client/help.h"
#include "client/output.h"
#include "client/text.h"

#if defined(_WIN32)
#include "client/library_log.h"
#endif

namespace wnbd::client {
namespace {

using Command = DWORD (*)(const Arguments&);

constexpr std::pair<std::string_view, Command> command_functions[] = {
    {"version", run_version},
    {"help", run_help},
    {"serve", run_serve},
    {"nbd-info", run_nbd_info},
    {"completion", run_completion},
#if defined(_WIN32)
    {"list", run_list},
    {"show", run_show},
    {"map", run_map},
    {"unmap", run_unmap},
    {"resize", run_resize},
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
    {"shell", run_shell},
#endif
};

DWORD run(std::span<const std::string> words, OutputFormat default_format) {
    const std::string name = words.empty() ? "help" : words.front();
    const CommandSpec* const command = find_command(name);
    if (command == nullptr) return report_unknown_command(name, "See wnbd-client --help.");
    const auto rest = words.subspan(words.empty() ? 0 : 1);
    const auto arguments = parse_arguments(*command, rest, default_format);
    if (!arguments) return refuse(arguments.error().text, ERROR_INVALID_PARAMETER);
    if (arguments.value().has("help")) {
        return print(help_for(*command, arguments.value().format()));
    }
#if defined(_WIN32)
    use_library_log(arguments.value().has("debug") ? LogUse::debug : LogUse::detail);
#endif
    for (const auto& [command_name, function] : command_functions) {
        if (command_name == command->names.front()) return function(arguments.value());
    }
    return refuse(in_quotes(name) + " needs Windows, where the WNBD driver is.",
                  ERROR_NOT_SUPPORTED);
}

}  // namespace

DWORD run_command(std::span<const std::string> words, OutputFormat default_format) {
    // Known before the words are: an argument that is wrong is told in the format asked for, too.
    use_message_format(format_of_words(words, default_format));
    try {
        return run(words, default_format);
    } catch (const std::exception& exception) {
        return refuse(std::string("Caught unexpected exception.\n\n") + exception.what(),
                      ERROR_INTERNAL_ERROR);
    } catch (...) {
        return refuse("Caught unexpected exception.\n\nNo details are known.",
                      ERROR_INTERNAL_ERROR);
    }
}

}  // namespace wnbd::client
