// SPDX-License-Identifier: LGPL-2.1-or-later
#include "version.h"

#include "client/commands/commands.h"
#include "client/fields.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {

DWORD run_version(const Arguments& arguments) {
    Record record{{"wnbd-client.exe", std::string(WNBD_VERSION_STR)}};
    std::string_view what = "Could not read the version of libwnbd.dll";
    WNBD_VERSION version{};
    DWORD code = WnbdGetLibVersion(&version);
    if (code == ERROR_SUCCESS) {
        record.push_back({"libwnbd.dll", bounded_text(version.Description)});
        what = "Could not read the driver's version";
        version = {};
        code = WnbdGetDriverVersion(&version);
    }
    if (code == ERROR_SUCCESS) record.push_back({"wnbd.sys", bounded_text(version.Description)});

    std::string text;
    if (arguments.format() == OutputFormat::json) {
        text = json_text(record);
    } else {
        for (const Field& field : record) {
            text += std::string(field.label) + ": " + table_text(field.value) + "\n";
        }
    }
    const DWORD printed = print(text);
    return code == ERROR_SUCCESS ? printed : report_failure(Task::other, what, code);
}

}  // namespace wnbd::client
