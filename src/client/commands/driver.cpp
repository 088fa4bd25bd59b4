// SPDX-License-Identifier: LGPL-2.1-or-later
// install-driver and uninstall-driver.
#include "client/commands/commands.h"
#include "client/system.h"
#include "client/text.h"
#include "wnbd.h"

namespace wnbd::client {

DWORD run_install_driver(const Arguments& arguments) {
    const std::string file = arguments.text("filename");
    if (file.empty()) return report_missing("INF file name");
    BOOL reboot_required = FALSE;
    const DWORD code = WnbdInstallDriver(file.c_str(), &reboot_required);
    if (code != ERROR_SUCCESS) {
        return report_failure(Task::install, "Could not install the driver from " + in_quotes(file),
                              code);
    }
    if (reboot_required != FALSE) print_error("Reboot required to complete the installation");
    return ERROR_SUCCESS;
}

DWORD run_uninstall_driver(const Arguments& /*arguments*/) {
    BOOL reboot_required = FALSE;
    const DWORD code = WnbdUninstallDriver(&reboot_required);
    if (code != ERROR_SUCCESS) {
        return report_failure(Task::uninstall, "Could not uninstall the driver", code);
    }
    if (reboot_required != FALSE) print_error("Reboot required to complete the cleanup process");
    return ERROR_SUCCESS;
}

}  // namespace wnbd::client
