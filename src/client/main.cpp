// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd-client
#include "client/console.h"
#include "client/dispatch.h"

int main(int argc, char** argv) {
    using namespace wnbd::client;
    const Utf8Console console;
    return exit_status(run_command(command_line_words(argc, argv), OutputFormat::table));
}
