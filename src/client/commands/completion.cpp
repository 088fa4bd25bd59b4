// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/completion.h"

#include <span>
#include <vector>

#include "client/candidates.h"
#include "client/commands/commands.h"
#include "client/output.h"
#include "client/text.h"

#if defined(_WIN32)
#include "client/commands/growing_list.h"
#include "client/mapped_disks.h"
#include "client/system.h"
#else
#include <cstdlib>
#endif

namespace wnbd::client {
namespace {

#if defined(_WIN32)

std::vector<std::string> disk_names() {
    std::vector<WNBD_CONNECTION_INFO> disks;
    bool reported = false;
    std::vector<std::string> names;
    if (list_disks(disks, reported) != ERROR_SUCCESS) return names;
    for (const WNBD_CONNECTION_INFO& disk : disks)
        names.push_back(bounded_text(disk.Properties.InstanceName));
    return names;
}

std::vector<KnownOption> driver_options() {
    GrowingList<WNBD_OPTION> options;
    std::vector<KnownOption> known;
    const auto read = [](PWNBD_OPTION_LIST list, PDWORD size) {
        return WnbdListDrvOpt(list, size, FALSE);
    };
    if (options.fill(&WNBD_OPTION_LIST::Options, read) != ERROR_SUCCESS) return known;
    for (const WNBD_OPTION& option : options.elements())
        known.push_back({utf8_from_utf16(std::span<const wchar_t>(option.Name)),
                         option.Default.Type == WnbdOptBool});
    return known;
}

/// Of any length; empty where there is none.
std::string line_to_complete() {
    const std::wstring name(std::begin(completion_line_variable),
                            std::end(completion_line_variable) - 1);
    std::vector<wchar_t> text(GetEnvironmentVariableW(name.c_str(), nullptr, 0) + 1);
    const DWORD length =
        GetEnvironmentVariableW(name.c_str(), text.data(), static_cast<DWORD>(text.size()));
    if (length >= text.size()) return {};
    return utf8_from_utf16(std::span<const wchar_t>(text.data(), length));
}

#else

// Without the driver there is nothing to name.
std::vector<std::string> disk_names() {
    return {};
}

std::vector<KnownOption> driver_options() {
    return {};
}

std::string line_to_complete() {
    const char* const line = std::getenv(std::string(completion_line_variable).c_str());
    return line == nullptr ? std::string{} : line;
}

#endif

}  // namespace

DWORD run_completion(const Arguments& arguments) {
    const std::string name = arguments.text("shell-name");
    if (name != "powershell") {
        return refuse("There is no completion for " + in_quotes(name) + "; give powershell.",
                      ERROR_INVALID_PARAMETER);
    }
    if (!arguments.has("candidates")) return print(powershell_completion());
    return print(candidate_lines(line_to_complete(), {disk_names, driver_options}));
}

}  // namespace wnbd::client
