// SPDX-License-Identifier: LGPL-2.1-or-later
// The commands. Each prints its result, or one line that says why there is none, and returns the
// exit code: a Win32 error, 0 on success.
#pragma once

#include "client/arguments.h"
#include "client/command_table.h"
#include "client/exit_codes.h"

namespace wnbd::client {

DWORD run_version(const Arguments& arguments);
DWORD run_help(const Arguments& arguments);
DWORD run_list(const Arguments& arguments);
DWORD run_show(const Arguments& arguments);
DWORD run_serve(const Arguments& arguments);
DWORD run_nbd_info(const Arguments& arguments);
DWORD run_map(const Arguments& arguments);
DWORD run_unmap(const Arguments& arguments);
DWORD run_resize(const Arguments& arguments);
DWORD run_stats(const Arguments& arguments);
DWORD run_list_opt(const Arguments& arguments);
DWORD run_get_opt(const Arguments& arguments);
DWORD run_set_opt(const Arguments& arguments);
DWORD run_reset_opt(const Arguments& arguments);
DWORD run_install_driver(const Arguments& arguments);
DWORD run_uninstall_driver(const Arguments& arguments);
DWORD run_reset_adapter(const Arguments& arguments);
DWORD run_ping(const Arguments& arguments);
DWORD run_reload_config(const Arguments& arguments);
DWORD run_shell(const Arguments& arguments);
DWORD run_completion(const Arguments& arguments);

}  // namespace wnbd::client
