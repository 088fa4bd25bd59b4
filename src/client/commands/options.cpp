// SPDX-License-Identifier: LGPL-2.1-or-later
// list-opt, get-opt, set-opt and reset-opt: four views of one small table of the driver.
#include <algorithm>
#include <iterator>
#include <utility>

#include "client/commands/commands.h"
#include "client/commands/growing_list.h"
#include "client/option_range.h"
#include "client/option_text.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

BOOLEAN is_persistent(const Arguments& arguments) {
    return arguments.has("persistent") ? TRUE : FALSE;
}

DWORD report_option(std::string_view verb, const std::string& name, DWORD code, bool persistent) {
    std::string detail;
    if (code == ERROR_FILE_NOT_FOUND) detail = option_absence_text(name, persistent);
    if (code == ERROR_INVALID_PARAMETER || code == ERROR_INVALID_HANDLE)
        detail = option_range_text(name);
    return report_failure(Task::option,
                          "Could not " + std::string(verb) + " the option " + in_quotes(name), code,
                          std::move(detail));
}

}  // namespace

DWORD run_list_opt(const Arguments& arguments) {
    GrowingList<WNBD_OPTION> options;
    const BOOLEAN persistent = is_persistent(arguments);
    const DWORD code =
        options.fill(&WNBD_OPTION_LIST::Options, [persistent](PWNBD_OPTION_LIST list, PDWORD size) {
            return WnbdListDrvOpt(list, size, persistent);
        });
    if (code != ERROR_SUCCESS) {
        return options.reported() ? code
                                  : report_failure(Task::other, "Could not list the options", code);
    }
    return print(option_list_text(options.elements(), arguments.format()));
}

DWORD run_get_opt(const Arguments& arguments) {
    const std::string name = arguments.text("name");
    if (name.empty()) return report_missing("option name");
    WNBD_OPTION_VALUE value{};
    const DWORD code = WnbdGetDrvOpt(name.c_str(), &value, is_persistent(arguments));
    if (code != ERROR_SUCCESS)
        return report_option("read", name, code, arguments.has("persistent"));
    return print(option_text(name, value, arguments.format()));
}

DWORD run_set_opt(const Arguments& arguments) {
    const std::string name = arguments.text("name");
    if (name.empty()) return report_missing("option name");
    const auto units = utf16_from_utf8(arguments.text("value"));
    WNBD_OPTION_VALUE value{};
    value.Type = WnbdOptWstr;
    // The driver converts the text to the option's type.
    if (units.size() >= std::size(value.Data.AsWstr)) {
        return refuse("The value is too long: " + std::to_string(units.size()) +
                          " UTF-16 units, at most 255 are allowed.",
                      ERROR_BUFFER_OVERFLOW);
    }
    std::ranges::copy(units, value.Data.AsWstr);
    const DWORD code = WnbdSetDrvOpt(name.c_str(), &value, is_persistent(arguments));
    if (code == ERROR_SUCCESS) return code;
    return report_option("set", name, code, arguments.has("persistent"));
}

DWORD run_reset_opt(const Arguments& arguments) {
    const std::string name = arguments.text("name");
    if (name.empty()) return report_missing("option name");
    const DWORD code = WnbdResetDrvOpt(name.c_str(), is_persistent(arguments));
    if (code == ERROR_SUCCESS) return code;
    return report_option("reset", name, code, arguments.has("persistent"));
}

}  // namespace wnbd::client
