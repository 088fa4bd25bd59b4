// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/completion.h"

#include "client/commands/commands.h"
#include "client/system.h"
#include "client/text.h"

namespace wnbd::client {

DWORD run_completion(const Arguments& arguments) {
    const std::string name = arguments.text("shell-name");
    if (name != "powershell") {
        return refuse("There is no completion for " + in_quotes(name) + "; give powershell.",
                      ERROR_INVALID_PARAMETER);
    }
    return print(powershell_completion());
}

}  // namespace wnbd::client
