// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd-client.exe
#include "client/dispatch.h"
#include "client/system.h"

int main() {
    using namespace wnbd::client;
    const Utf8Console console;
    return static_cast<int>(run_command(command_line_words(), OutputFormat::table));
}
