// SPDX-License-Identifier: LGPL-2.1-or-later
#include "version.h"

#include "client/commands/commands.h"
#include "client/fields.h"
#include "client/text.h"

#if defined(_WIN32)
#include "client/system.h"
#include "wnbd.h"
#else
#include "client/output.h"
#endif

namespace wnbd::client {
namespace {

#if defined(_WIN32)

constexpr std::string_view client_name = "wnbd-client.exe";

/// Adds what there is; `what` becomes what could not be done.
DWORD add_other_versions(Record& record, std::string_view& what) {
    WNBD_VERSION version{};
    what = "Could not read the version of libwnbd.dll";
    DWORD code = WnbdGetLibVersion(&version);
    if (code != ERROR_SUCCESS) return code;
    record.push_back({"libwnbd.dll", bounded_text(version.Description)});
    what = "Could not read the driver's version";
    version = {};
    code = WnbdGetDriverVersion(&version);
    if (code == ERROR_SUCCESS) record.push_back({"wnbd.sys", bounded_text(version.Description)});
    return code;
}

#else

constexpr std::string_view client_name = "wnbd-client";

#endif

}  // namespace

DWORD run_version(const Arguments& arguments) {
    Record record{{client_name, std::string(WNBD_VERSION_STR)}};
#if defined(_WIN32)
    std::string_view what;
    const DWORD code = add_other_versions(record, what);
#endif
    std::string text;
    if (arguments.format() == OutputFormat::json) {
        text = json_text(record);
    } else {
        for (const Field& field : record) {
            text += std::string(field.label) + ": " + table_text(field.value) + "\n";
        }
    }
    const DWORD printed = print(text);
#if defined(_WIN32)
    if (code != ERROR_SUCCESS) return report_failure(Task::other, what, code);
#endif
    return printed;
}

}  // namespace wnbd::client
