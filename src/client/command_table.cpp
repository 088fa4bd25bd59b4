// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/command_table.h"

#include <algorithm>
#include <array>

#include "client/server_option_table.h"

namespace wnbd::client {
namespace {

using std::string_view;
using enum ValueKind;

constexpr OptionSpec instance_name{
    .name = "instance-name",
    .kind = text,
    .description = "The disk's name, at most 255 bytes.",
    .required = true,
    .source = ValueSource::disk,
};
constexpr OptionSpec new_instance_name{
    .name = instance_name.name,
    .kind = text,
    .description = instance_name.description,
    .required = true,
};
constexpr OptionSpec option_name{
    .name = "name",
    .kind = text,
    .description = "The driver option's name.",
    .required = true,
    .source = ValueSource::option_name,
};
constexpr OptionSpec persistent{
    .name = "persistent",
    .description = "Act on the value that is stored and used again when the driver is loaded.",
};

constexpr std::array<string_view, 2> version_names{"version", "-v"};
constexpr std::array<string_view, 3> help_names{"help", "-h", "--help"};
constexpr std::array<string_view, 2> list_names{"list", "ls"};
constexpr std::array<string_view, 1> show_names{"show"};
constexpr std::array<string_view, 1> map_names{"map"};
constexpr std::array<string_view, 1> serve_names{"serve"};
constexpr std::array<string_view, 1> nbd_info_names{"nbd-info"};
constexpr std::array<string_view, 2> unmap_names{"unmap", "rm"};
constexpr std::array<string_view, 1> resize_names{"resize"};
constexpr std::array<string_view, 1> stats_names{"stats"};
constexpr std::array<string_view, 1> list_opt_names{"list-opt"};
constexpr std::array<string_view, 1> get_opt_names{"get-opt"};
constexpr std::array<string_view, 1> set_opt_names{"set-opt"};
constexpr std::array<string_view, 1> reset_opt_names{"reset-opt"};
constexpr std::array<string_view, 1> install_names{"install-driver"};
constexpr std::array<string_view, 1> uninstall_names{"uninstall-driver"};
constexpr std::array<string_view, 1> reset_adapter_names{"reset-adapter"};
constexpr std::array<string_view, 1> ping_names{"ping"};
constexpr std::array<string_view, 1> reload_names{"reload-config"};
constexpr std::array<string_view, 1> shell_names{"shell"};
constexpr std::array<string_view, 1> completion_names{"completion"};

constexpr std::array<string_view, 2> format_names{"table", "json"};
constexpr std::array<string_view, 1> completer_names{"powershell"};

constexpr std::array help_positionals{OptionSpec{
    .name = "command-name",
    .kind = text,
    .description = "The command to explain.",
    .source = ValueSource::command,
}};
constexpr std::array name_positional{instance_name};
constexpr std::array map_positionals{
    new_instance_name,
    OptionSpec{
        .name = "hostname",
        .kind = text,
        .description = "The NBD server's name or address, or an NBD URI such as "
                       "nbds://server:10809/export. Left out with --memory or --file.",
    },
};
constexpr std::array serve_positionals{
    OptionSpec{
        .name = "target-name",
        .kind = text,
        .description =
            "The target's name: a whole iSCSI name such as iqn.2026-11.org.example:disk0, "
            "or its last part.",
        .required = true,
    },
    OptionSpec{
        .name = "backend",
        .kind = text,
        .description =
            "What is served: an NBD URI such as nbds://server:10809/export. Left out with "
            "--memory or --file.",
    },
};
constexpr std::array nbd_info_positionals{OptionSpec{
    .name = "uri",
    .kind = text,
    .description =
        "An NBD URI such as nbds://server:10809/export, with all that it may say of TLS.",
    .required = true,
}};
constexpr std::array nbd_info_options{
    OptionSpec{.name = "list",
               .description = "List the server's exports; the URI's need not exist."},
    OptionSpec{
        .name = "map",
        .description = "Show where the export has data, zeroes and holes (base:allocation).",
    },
};
constexpr std::array resize_positionals{
    instance_name,
    OptionSpec{
        .name = "size",
        .kind = size,
        .description =
            "The new size in bytes, a multiple of the block size, or with a suffix K, M, "
            "G or T.",
        .required = true,
    },
};
constexpr std::array option_positional{option_name};
constexpr std::array set_opt_positionals{
    option_name,
    OptionSpec{
        .name = "value",
        .kind = text,
        .description = "The new value.",
        .required = true,
        .source = ValueSource::option_value,
    },
};
constexpr std::array install_positionals{OptionSpec{
    .name = "filename",
    .kind = text,
    .description = "The driver's INF file, wnbd.inf.",
    .required = true,
    .source = ValueSource::file,
}};

constexpr std::array completion_positionals{OptionSpec{
    .name = "shell-name",
    .kind = text,
    .description = "The program that runs it: \"powershell\".",
    .required = true,
    .source = ValueSource::completer,
}};

constexpr std::array completion_options{OptionSpec{
    .name = "candidates",
    .description = "Print what may stand at the end of the line in WNBD_COMPLETION_LINE, for the "
                   "script.",
}};
constexpr std::array persistent_options{persistent};
constexpr std::array map_own_options{
    OptionSpec{
        .name = "port",
        .kind = number32,
        .description = "The NBD server's port, 1 to 65535. Default: 10809.",
    },
    OptionSpec{
        .name = "export-name",
        .kind = text,
        .description = "The NBD export's name. Default: the disk's name.",
    },
    OptionSpec{
        .name = "skip-handshake",
        .description =
            "Start with the transmission phase at once. Needs --disk-size and --block-size.",
    },
    OptionSpec{
        .name = "disk-size",
        .kind = size,
        .description =
            "The disk's size in bytes, a multiple of the block size. With --file: create "
            "the file with this size when there is none.",
    },
    OptionSpec{
        .name = "block-size",
        .kind = number32,
        .description = "The disk's block size in bytes. Default: 512.",
    },
    OptionSpec{
        .name = "physical-block-size",
        .kind = number32,
        .description = "What Windows is told to align to, in bytes: the block size times a power "
                       "of two. Default: the block size.",
        .exact_only = true,
    },
    OptionSpec{.name = "read-only", .description = "Refuse writes."},
    OptionSpec{
        .name = "memory",
        .kind = size,
        .description = "Serve the disk from this process's memory instead of a server. A size in "
                       "bytes, or with a suffix K, M, G or T.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "file",
        .kind = text,
        .description = "Serve the disk from this raw image file instead of a server.",
        .exact_only = true,
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "driverless",
        .description = "Map it through Windows's own iSCSI initiator instead of the WNBD driver, "
                       "which need not be installed.",
        .exact_only = true,
    },
};
constexpr std::array serve_own_options{
    OptionSpec{
        .name = "file",
        .kind = text,
        .description = "Serve this raw image file.",
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "size",
        .kind = size,
        .description = "With --file: create the file with this size when there is none. Bytes, or "
                       "with a suffix K, M, G or T.",
    },
    OptionSpec{
        .name = "memory",
        .kind = size,
        .description = "Serve this much memory of this process.",
    },
    OptionSpec{
        .name = "lun",
        .kind = text,
        .description = "Serve another logical unit: an NBD URI, file:PATH or memory:SIZE. Can be "
                       "given several times; units are numbered in their order.",
        .repeatable = true,
    },
    OptionSpec{
        .name = "listen",
        .kind = text,
        .description = "Where to listen: an address or a name, and with a colon a port. Default: "
                       "127.0.0.1:3260. Port 0 takes a free one. Can be given several times.",
        .repeatable = true,
    },
    OptionSpec{
        .name = "allow-anyone",
        .description =
            "Listen on other than loopback addresses though no CHAP secret is asked for.",
    },
    OptionSpec{
        .name = "chap-user",
        .kind = text,
        .description =
            "The name that initiators prove to have. The secret is in --chap-secret-file "
            "or in the environment, WNBD_CHAP_SECRET.",
    },
    OptionSpec{
        .name = "chap-secret-file",
        .kind = text,
        .description = "A file whose first line is their secret, 12 to 255 bytes.",
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "mutual-user",
        .kind = text,
        .description = "The name that the target proves to have to an initiator that asks. The "
                       "secret is in --mutual-secret-file or in WNBD_MUTUAL_SECRET.",
    },
    OptionSpec{
        .name = "mutual-secret-file",
        .kind = text,
        .description = "A file whose first line is the target's secret.",
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "block-size",
        .kind = number32,
        .description = "The units' block size in bytes, 512 or 4096. Default: 512.",
    },
    OptionSpec{
        .name = "physical-block-size",
        .kind = number32,
        .description = "What initiators are told to align to, in bytes: the block size times a "
                       "power of two. Default: the block size.",
    },
    OptionSpec{.name = "read-only", .description = "Refuse writes."},
    OptionSpec{
        .name = "serial",
        .kind = text,
        .description = "The serial number. Default: the last part of the target's name. Further "
                       "units have their number behind it.",
    },
    OptionSpec{
        .name = "naa",
        .kind = text,
        .description = "The unit's NAA identifier: 16 or 32 hexadecimal digits. Default: made from "
                       "the serial number.",
    },
};
constexpr auto map_options = joined(map_own_options, server_option_table);
constexpr auto serve_options = joined(serve_own_options, server_option_table);
constexpr std::array unmap_options{
    OptionSpec{
        .name = "hard-disconnect",
        .description = "Remove the disk at once, even if it is in use. Unwritten data is lost.",
        .destructive = true,
    },
    OptionSpec{
        .name = "no-hard-disconnect-fallback",
        .description = "Fail, rather than remove the disk hard, when it is still in use after the "
                       "time-out.",
    },
    OptionSpec{
        .name = "soft-disconnect-timeout",
        .kind = number32,
        .description = "How long to ask Windows to let the disk go, in seconds. 0 asks for ever. "
                       "Default: 30.",
    },
    OptionSpec{
        .name = "soft-disconnect-retry-interval",
        .kind = number32,
        .description = "How long to wait before asking again, in seconds. Default: 2.",
    },
};
constexpr std::array reset_adapter_options{
    OptionSpec{
        .name = "hard-disconnect-mappings",
        .description = "First remove all disks hard, even those in use. Unwritten data is lost.",
        .destructive = true,
    },
    OptionSpec{
        .name = "reset-timeout",
        .kind = number32,
        .description = "How long to retry while the adapter is in use, in seconds. 0 retries for "
                       "ever. Default: 10.",
    },
    OptionSpec{
        .name = "reset-retry-interval",
        .kind = number32,
        .description = "How long to wait before retrying, in seconds. Default: 1.",
    },
};

constexpr std::array command_table{
    CommandSpec{version_names, "Show the versions of client, library and driver.", {}, {}},
    CommandSpec{help_names, "List the commands, or explain one.", help_positionals, {}},
    CommandSpec{list_names, "List the mapped disks.", {}, {}},
    CommandSpec{show_names, "Show all that is known of a disk.", name_positional, {}},
    CommandSpec{map_names, "Map a disk and serve it until it is removed.", map_positionals,
                map_options},
    CommandSpec{serve_names, "Serve disks as an iSCSI target until Ctrl-C.", serve_positionals,
                serve_options},
    CommandSpec{nbd_info_names, "Ask an NBD server what it has to offer.", nbd_info_positionals,
                nbd_info_options},
    CommandSpec{unmap_names, "Remove a disk.", name_positional, unmap_options},
    CommandSpec{resize_names, "Tell Windows that a disk has another size.", resize_positionals, {}},
    CommandSpec{stats_names, "Show a disk's counters.", name_positional, {}},
    CommandSpec{list_opt_names, "List the driver's options.", {}, persistent_options},
    CommandSpec{get_opt_names, "Show a driver option.", option_positional, persistent_options},
    CommandSpec{set_opt_names, "Set a driver option.", set_opt_positionals, persistent_options},
    CommandSpec{reset_opt_names, "Set a driver option back to its default.", option_positional,
                persistent_options},
    CommandSpec{install_names, "Install the driver and its adapter.", install_positionals, {}},
    CommandSpec{uninstall_names, "Remove all disks, the adapter and the driver.", {}, {}},
    CommandSpec{reset_adapter_names, "Restart the adapter.", {}, reset_adapter_options},
    CommandSpec{ping_names, "Check that the driver answers.", {}, {}},
    CommandSpec{reload_names, "Have the driver read its stored options again.", {}, {}},
    CommandSpec{
        shell_names, "Take commands line by line, even while the system disk hangs.", {}, {}},
    CommandSpec{completion_names, "Print a script that completes words with the Tab key.",
                completion_positionals, completion_options},
};

constexpr std::array common_table{
    OptionSpec{.name = "debug", .description = "Log more, to the error output."},
    OptionSpec{
        .name = "format",
        .kind = format,
        .description = "What is printed, errors included: \"table\" (default) or \"json\".",
        .exact_only = true,
    },
    OptionSpec{.name = "help", .description = "Explain this command.", .exact_only = true},
};

}  // namespace

std::span<const CommandSpec> commands() noexcept {
    return command_table;
}

std::span<const OptionSpec> common_options() noexcept {
    return common_table;
}

std::span<const std::string_view> known_values(const OptionSpec& option) noexcept {
    if (!option.choices.empty()) return option.choices;
    if (option.kind == format) return format_names;
    if (option.source == ValueSource::completer) return completer_names;
    return {};
}

const CommandSpec* find_command(std::string_view name) noexcept {
    const auto* const found =
        std::ranges::find_if(command_table, [name](const CommandSpec& command) {
            return std::ranges::find(command.names, name) != command.names.end();
        });
    return found == command_table.end() ? nullptr : found;
}

}  // namespace wnbd::client
